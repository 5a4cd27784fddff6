package rpc

import (
	"context"
	"sync"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// models holds what is loaded, with the text side that the batcher does not know.
type models struct {
	mu   sync.Mutex
	byID map[string]*model
}

// model is a model that is loading or loaded.
type model struct {
	request batcher.LoadRequest
	owner   *models
	loaded  chan struct{} // closed when the load has ended; then these are set:
	err     error
	info    batcher.ModelInfo
	text    TextModel

	// Under owner.mu.
	users   int
	removed bool
	leaving chan struct{} // not nil while an unload is under way; closed at its end
}

func newModels() *models { return &models{byID: map[string]*model{}} }

// load makes a model ready by open, or waits for another call that is doing so. shared is
// true if this call did not load it.
func (ms *models) load(ctx context.Context, req batcher.LoadRequest, open func(*model) error) (shared bool, err error) {
	for {
		m, mine, leaving, err := ms.claim(req)
		switch {
		case err != nil:
			return false, err
		case leaving != nil:
			if err := wait(ctx, leaving); err != nil {
				return false, err
			}
		case mine:
			return false, ms.open(m, open)
		default:
			if err := wait(ctx, m.loaded); err != nil {
				return false, err
			}
			return true, m.err
		}
	}
}

// claim returns the model of the request's id; mine says that the caller has to load it. A
// model that is being unloaded is returned as the channel to wait for.
func (ms *models) claim(req batcher.LoadRequest) (m *model, mine bool, leaving <-chan struct{}, err error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m = ms.byID[req.ModelID]
	switch {
	case m == nil:
		m = &model{request: req, owner: ms, loaded: make(chan struct{})}
		ms.byID[req.ModelID] = m
		return m, true, nil, nil
	case m.leaving != nil:
		return nil, false, m.leaving, nil
	case m.request != req:
		return nil, false, nil, fault.New(fault.Busy,
			"a model is loaded as %s already, from another path or with other settings: unload it first", wire.Quote(req.ModelID)).
			With("model_id", req.ModelID)
	}
	return m, false, nil, nil
}

func (ms *models) open(m *model, open func(*model) error) error {
	completed := false
	defer func() {
		if !completed { // open panicked: those who wait must not wait for ever
			m.err = fault.New(fault.Internal, "an internal fault while loading the model")
		}
		if m.err != nil {
			ms.mu.Lock()
			delete(ms.byID, m.request.ModelID)
			ms.mu.Unlock()
		}
		close(m.loaded)
	}()
	m.err = open(m)
	completed = true
	return m.err
}

// use returns a loaded model and keeps its text side open until release is called.
func (ms *models) use(id string) (*model, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.byID[id]
	if m == nil {
		return nil, notLoaded(id)
	}
	select {
	case <-m.loaded:
	default:
		return nil, notLoaded(id).With("state", string(batcher.ModelLoading))
	}
	m.users++
	return m, nil
}

// release ends a use.
func (m *model) release() {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	m.users--
	m.owner.collect(m)
}

// unload runs free on a loaded model and forgets the model if that succeeds.
func (ms *models) unload(id string, free func() error) error {
	m, err := ms.use(id)
	if err != nil {
		return err
	}
	defer m.release()
	ms.mu.Lock()
	if m.leaving != nil || m.removed {
		ms.mu.Unlock()
		return fault.New(fault.Busy, "model %s is being unloaded already", wire.Quote(id)).With("model_id", id)
	}
	leaving := make(chan struct{})
	m.leaving = leaving
	ms.mu.Unlock()
	defer close(leaving)

	err = free()
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.leaving = nil
	if err == nil {
		delete(ms.byID, id)
		m.removed = true
	}
	return err
}

// close forgets all models; the last user of each frees it.
func (ms *models) close() {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for id, m := range ms.byID {
		select {
		case <-m.loaded:
			delete(ms.byID, id)
			m.removed = true
			ms.collect(m)
		default: // its load has not ended, so it has no text side yet
		}
	}
}

// collect closes the text side of a model that nobody can use any more. ms.mu is held.
func (ms *models) collect(m *model) {
	if m.removed && m.users == 0 && m.text != nil {
		m.text.Close()
		m.text = nil
	}
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
