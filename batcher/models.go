package batcher

import (
	"slices"
	"strings"
	"sync/atomic"

	"mlx-worker/internal/fault"
)

// Phase is a model's place in its life.
type Phase string

// The phases of a model.
const (
	ModelLoading   Phase = "loading"
	ModelReady     Phase = "ready"
	ModelUnloading Phase = "unloading"
)

// ModelState is one row of Models.
type ModelState struct {
	ModelID string
	Phase   Phase
	Info    ModelInfo // zero while loading
	Streams int       // requests queued or running
}

// model is one id's place in the registry. Fields are under Batcher.mu unless they say otherwise.
type model struct {
	id      string
	path    string
	phase   Phase
	info    ModelInfo
	loading *load            // while loading
	streams map[*Stream]bool // queued or running
	queue   queue
	running int           // have a row
	flying  int           // steps dispatched and not yet waited for
	passed  bool          // while requests are admitted: none of its can start
	empty   chan struct{} // while unloading: closed when streams is empty and no step under way
	gone    chan struct{} // while unloading: closed when that has succeeded or failed
	count   *atomic.Int64 // len(streams), for readers

	// Owned by the loop.
	turn       uint64 // number of its latest step
	shortFirst bool   // whether the latest step with prompts took the shortest first
	costs      costs
}

func newModel(id, path string) *model {
	return &model{id: id, path: path, phase: ModelLoading, streams: map[*Stream]bool{}, count: new(atomic.Int64)}
}

// add enters an admitted request. Batcher.mu is held.
func (m *model) add(s *Stream) {
	m.streams[s] = true
	m.count.Store(int64(len(m.streams)))
}

// remove takes out an ended request. Batcher.mu is held.
func (m *model) remove(s *Stream) {
	delete(m.streams, s)
	m.count.Store(int64(len(m.streams)))
	m.checkEmpty()
}

// checkEmpty tells who wants to unload that nothing uses the model any more. Batcher.mu is held.
func (m *model) checkEmpty() {
	if m.empty != nil && len(m.streams) == 0 && m.flying == 0 {
		close(m.empty)
		m.empty = nil
	}
}

// cancelStreams cancels m's requests and reports whether it had any. b.mu is held.
func (b *Batcher) cancelStreams(m *model, err *fault.Error) bool {
	for s := range m.streams {
		b.endEarly(s, &ending{reason: FinishCancelled, err: err})
	}
	return len(m.streams) > 0
}

// listedModel is what a reader sees of a model.
type listedModel struct {
	state ModelState
	count *atomic.Int64
}

// publish shows the registry to readers. b.mu is held.
func (b *Batcher) publish() {
	list := make([]listedModel, 0, len(b.models))
	for _, m := range b.models {
		list = append(list, listedModel{ModelState{ModelID: m.id, Phase: m.phase, Info: m.info}, m.count})
	}
	slices.SortFunc(list, func(a, b listedModel) int { return strings.Compare(a.state.ModelID, b.state.ModelID) })
	b.listed.Store(&list)
}

// Models lists the models that are loading, ready or unloading, by id. It waits for nothing.
func (b *Batcher) Models() []ModelState {
	listed := *b.listed.Load()
	out := make([]ModelState, len(listed))
	for i, m := range listed {
		out[i] = m.state
		out[i].Streams = int(m.count.Load())
	}
	return out
}

// Model returns the info of a model that is ready. It waits for nothing.
func (b *Batcher) Model(modelID string) (ModelInfo, bool) {
	for _, m := range *b.listed.Load() {
		if m.state.ModelID == modelID {
			return m.state.Info, m.state.Phase == ModelReady
		}
	}
	return ModelInfo{}, false
}
