package rpc

import (
	"sync"

	"mlx-worker/internal/fault"
)

// maxTasks bounds the requests that are worked on at once. Streams do not count: generate is
// answered when its stream starts.
const maxTasks = 1024

// tasks counts the goroutines that work on requests.
type tasks struct {
	mu       sync.Mutex
	running  int
	stopping bool
	idle     chan struct{} // closed when stopping and none runs
}

func newTasks() *tasks { return &tasks{idle: make(chan struct{})} }

// start admits one task, which has to call done.
func (t *tasks) start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopping:
		return shuttingDown()
	case t.running >= maxTasks:
		return fault.New(fault.QueueFull, "%d requests are being worked on already", t.running).
			With("limit", maxTasks).With("queued", t.running).With("retry_after_ms", 100)
	}
	t.running++
	return nil
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.settle()
}

// stop admits no more tasks. The channel is closed when the last one is done.
func (t *tasks) stop() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopping {
		t.stopping = true
		t.settle()
	}
	return t.idle
}

func (t *tasks) settle() {
	if t.stopping && t.running == 0 {
		close(t.idle)
	}
}
