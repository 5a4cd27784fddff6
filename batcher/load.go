package batcher

import (
	"context"
	"maps"
	"slices"
	"sync"

	"mlx-worker/internal/fault"
)

// LoadResult is a loaded model. Cached reports that it was ready before the call.
type LoadResult struct {
	ModelInfo
	Cached bool
}

// Load makes a model ready. Concurrent calls for one id are one load, whose failure reaches
// every caller; a model that is ready is returned with Cached set, unless req asks for another
// path, context length, dtype or quantisation than it has: that is an InvalidParams error. A
// model that is being unloaded is waited for, then loaded anew.
//
// progress may be nil; it must not block or call the batcher, and is not called after Load has
// returned. When ctx ends, Load returns a Cancelled error; when the last caller's ctx ends,
// the load itself is cancelled and leaves nothing loaded.
func (b *Batcher) Load(ctx context.Context, req LoadRequest, progress func(LoadProgress)) (LoadResult, error) {
	for {
		b.mu.Lock()
		if b.closing {
			b.mu.Unlock()
			return LoadResult{}, fault.New(fault.ShuttingDown, "the worker is shutting down")
		}
		m := b.models[req.ModelID]
		switch {
		case m == nil:
			l := b.beginLoad(req, progress)
			b.mu.Unlock()
			return b.await(ctx, l, firstCaller, req)
		case m.phase == ModelUnloading:
			gone := m.gone
			b.mu.Unlock()
			if err := wait(ctx, gone); err != nil {
				return LoadResult{}, err
			}
		case m.path != req.Path:
			b.mu.Unlock()
			return LoadResult{}, invalid("local_path", "model %q is already loaded from another path; unload it first", req.ModelID)
		case m.phase == ModelReady:
			info := m.info
			b.mu.Unlock()
			return LoadResult{info, true}, req.agrees(info)
		default:
			l := m.loading
			id, ok := l.join(progress)
			b.mu.Unlock()
			if ok {
				return b.await(ctx, l, id, req)
			}
			// Everyone has left it: it is being cancelled.
			if err := wait(ctx, l.done); err != nil {
				return LoadResult{}, err
			}
		}
	}
}

// agrees reports, as an error, what req asks for that a loaded model does not have.
func (r *LoadRequest) agrees(info ModelInfo) error {
	if r.ContextLength != 0 && r.ContextLength != info.ContextLength {
		return invalid("context_length", "model %q is already loaded with a context of %d tokens; unload it first", r.ModelID, info.ContextLength)
	}
	if r.DType != "" && r.DType != info.DType {
		return invalid("dtype", "model %q is already loaded as %s; unload it first", r.ModelID, info.DType)
	}
	if !r.Quantization.covers(info.Quantization) {
		return invalid("quantization", "model %q is already loaded with other weights; unload it first", r.ModelID)
	}
	return nil
}

// covers reports whether have is what q asks for; fields that are zero ask for nothing.
func (q Quantization) covers(have *Quantization) bool {
	if q == (Quantization{}) {
		return true
	}
	return have != nil && (q.Mode == "" || q.Mode == have.Mode) && (q.Bits == 0 || q.Bits == have.Bits) &&
		(q.GroupSize == 0 || q.GroupSize == have.GroupSize)
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Cancelled, "the call was cancelled: %w", context.Cause(ctx))
	}
}

// load is an Engine.Load that is under way, and those who wait for it.
type load struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when info and err are set
	info   ModelInfo
	err    error

	mu        sync.Mutex
	listeners map[int]func(LoadProgress) // the waiting callers; a nil func only waits
	lastID    int
}

// firstCaller is the listener id of the call that began a load.
const firstCaller = 0

// join adds a caller; ok is false if all others have left and so cancelled the load.
func (l *load) join(progress func(LoadProgress)) (id int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.listeners) == 0 {
		return 0, false
	}
	l.lastID++
	l.listeners[l.lastID] = progress
	return l.lastID, true
}

// leave ends a caller's part; the last one cancels the load, which does nothing if it is done.
func (l *load) leave(id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.listeners, id)
	if len(l.listeners) == 0 {
		l.cancel()
	}
}

// report passes progress on in order of arrival of the callers.
func (l *load) report(p LoadProgress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(l.listeners)) {
		if f := l.listeners[id]; f != nil {
			f(p)
		}
	}
}

func (b *Batcher) await(ctx context.Context, l *load, id int, req LoadRequest) (LoadResult, error) {
	defer l.leave(id)
	if err := wait(ctx, l.done); err != nil {
		return LoadResult{}, err
	}
	if l.err != nil {
		return LoadResult{}, l.err
	}
	return LoadResult{ModelInfo: l.info}, req.agrees(l.info)
}

// beginLoad enters a model and starts its load. b.mu is held.
func (b *Batcher) beginLoad(req LoadRequest, progress func(LoadProgress)) *load {
	ctx, cancel := context.WithCancel(b.loadCtx)
	l := &load{cancel: cancel, done: make(chan struct{}), listeners: map[int]func(LoadProgress){firstCaller: progress}}
	m := newModel(req.ModelID, req.Path)
	m.loading = l
	b.models[req.ModelID] = m
	b.publish()
	b.loads.Go(func() { b.load(ctx, m, l, req) })
	return l
}

func (b *Batcher) load(ctx context.Context, m *model, l *load, req LoadRequest) {
	defer l.cancel()
	err := b.guard("loading the model", func() (err error) {
		l.info, err = b.engine.Load(ctx, req, l.report)
		return err
	})
	if err == nil && ctx.Err() != nil {
		// Cancelled too late for the engine to notice; nobody knows of the model.
		_ = b.guard("unloading the model", func() error {
			_, err := b.engine.Unload(context.WithoutCancel(ctx), req.ModelID)
			return err
		})
		err = context.Cause(ctx)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	m.loading = nil
	switch {
	case err == nil:
		m.phase, m.info = ModelReady, l.info
	case b.closing && ctx.Err() != nil:
		l.err = fault.New(fault.ShuttingDown, "the worker is shutting down")
		delete(b.models, m.id)
	default:
		l.err = b.asFault("loading the model", err, fault.ModelLoad)
		delete(b.models, m.id)
	}
	b.publish()
	close(l.done)
}
