package batcher

import (
	"context"

	"mlx-worker/internal/fault"
)

// Unload frees a model and returns the bytes given back. It is refused with Busy (data:
// streams, or state) while the model is loading or being unloaded, and while it has requests
// unless force, which cancels them. If it fails, or ctx ends before the requests have, the
// model stays ready.
func (b *Batcher) Unload(ctx context.Context, modelID string, force bool) (freedBytes int64, err error) {
	m, empty, err := b.beginUnload(modelID, force)
	if err != nil {
		return 0, err
	}
	if err = wait(ctx, empty); err == nil {
		err = b.guard("unloading the model", func() (err error) {
			freedBytes, err = b.engine.Unload(ctx, modelID)
			return err
		})
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		m.phase, m.empty = ModelReady, nil
		freedBytes, err = 0, b.asFault("unloading the model", err, fault.Runtime)
	} else {
		delete(b.models, modelID)
		b.notify() // its memory may be what a request waits for
	}
	close(m.gone)
	b.publish()
	return freedBytes, err
}

// beginUnload stops admission to a model; empty is closed when its last request and step have ended.
func (b *Batcher) beginUnload(modelID string, force bool) (m *model, empty <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m = b.models[modelID]
	switch {
	case m == nil:
		return nil, nil, notLoaded(modelID, nil)
	case m.phase != ModelReady:
		return nil, nil, fault.New(fault.Busy, "model %q is %s", modelID, m.phase).With("state", string(m.phase))
	case len(m.streams) > 0 && !force:
		return nil, nil, fault.New(fault.Busy, "model %q has %d active requests", modelID, len(m.streams)).With("streams", len(m.streams))
	}
	m.phase = ModelUnloading
	m.gone = make(chan struct{})
	done := make(chan struct{})
	m.empty = done
	b.cancelStreams(m, fault.New(fault.Cancelled, "model %q was unloaded", modelID))
	m.checkEmpty()
	b.publish()
	return m, done, nil
}
