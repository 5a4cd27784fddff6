// Package batcher decides which request runs when. It admits requests into a bounded queue,
// loads and unloads models, and drives an Engine step by step on one goroutine. It knows
// neither MLX nor the wire.
//
// The policy is the simplest one: by priority, then in order of arrival, one sequence at a
// time. The step loop itself handles any number of rows.
package batcher

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"mlx-worker/internal/fault"
)

// maxRows is how many sequences share a step.
const maxRows = 1

// Batcher runs requests on an engine. All methods may be called from any goroutine, except
// from an Output, where only Stream.Cancel, Submit and the readers (Stats, Models, Model) are
// allowed: the others wait for the scheduler.
type Batcher struct {
	engine  Engine
	cfg     Config
	maxRows int
	metrics metrics
	onStep  atomic.Pointer[func()]

	wake chan struct{} // holds a token while the loop has something to look at
	done chan struct{} // closed when the loop has ended

	stepCtx    context.Context // of the engine's steps: ends when shutdown runs out of patience
	cancelStep context.CancelFunc
	loadCtx    context.Context // of loads: ends when shutdown begins
	cancelLoad context.CancelFunc
	loads      sync.WaitGroup

	listed atomic.Pointer[[]listedModel] // for readers, replaced at every change

	mu      sync.Mutex // never held during a call of the engine or an Output
	closing bool
	models  map[string]*model
	queue   queue
	dropped []*Stream // left the queue without running; the loop tells their outputs
	running int       // left the queue and have not ended
	nextDue time.Time // no waiting request's deadline is earlier; zero: none has one

	active []*Stream // owned by the loop: sequences in the engine, in order of admission
}

// New starts a Batcher on engine. The engine stays the caller's to close, after Shutdown.
func New(engine Engine, cfg Config) *Batcher {
	b := newBatcher(engine, cfg, maxRows)
	go b.run()
	return b
}

func newBatcher(engine Engine, cfg Config, rows int) *Batcher {
	b := &Batcher{
		engine:  engine,
		cfg:     cfg.withDefaults(),
		maxRows: rows,
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		models:  map[string]*model{},
	}
	b.metrics.init(rows, time.Now())
	b.stepCtx, b.cancelStep = context.WithCancel(context.Background())
	b.loadCtx, b.cancelLoad = context.WithCancel(context.Background())
	b.listed.Store(&[]listedModel{})
	return b
}

// OnStep sets the function that is called, on the scheduler's goroutine, after the outputs of
// each step were told. It must not block, and must be set before the first Submit.
func (b *Batcher) OnStep(f func()) { b.onStep.Store(&f) }

// notify makes the loop look at the queue.
func (b *Batcher) notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Shutdown stops admitting, lets the admitted requests finish until ctx ends, cancels the
// rest, and returns when every request got its Done and the scheduler has ended. Loads are
// cancelled at once. It waits for a running step or load: who must end sooner exits the
// process. The error is ctx's if requests had to be cancelled.
func (b *Batcher) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	b.cancelLoad()
	b.notify()

	var err error
	select {
	case <-b.done:
	case <-ctx.Done():
		if b.cancelAll(fault.New(fault.ShuttingDown, "the worker is shutting down")) {
			err = context.Cause(ctx)
		}
		b.cancelStep()
		<-b.done
	}
	b.loads.Wait()
	b.cancelStep()
	return err
}

// cancelAll cancels every request and reports whether there was one.
func (b *Batcher) cancelAll(err *fault.Error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	any := false
	for _, m := range b.models {
		any = b.cancelStreams(m, err) || any
	}
	return any
}
