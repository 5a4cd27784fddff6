// Package batcher decides which request runs when. It admits requests into a bounded queue,
// loads and unloads models, and drives an Engine step by step on one goroutine. It knows
// neither MLX nor the wire.
//
// Scheduling is by iteration: before every step the goroutine takes what changed (cancels,
// deadlines, arrivals), starts waiting requests while there are rows and memory for them, and
// plans a step of one model. A step holds a decode for every sequence that has its prompt
// behind it, and chunks of the other prompts as far as they don't delay the decodes too much.
// Where the engine computes while the host prepares, the next step is dispatched before the
// last one was read. docs/scheduling.md describes the policy.
package batcher

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"mlx-worker/internal/fault"
)

// Batcher runs requests on an engine. All methods may be called from any goroutine, except
// from an Output, where only Stream.Cancel, Submit, Announce and the readers (Stats, Models,
// Model) are allowed: the others wait for the scheduler.
type Batcher struct {
	engine  Engine
	cfg     Config
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

	mu        sync.Mutex // never held during an Output or a call of the engine that may wait
	closing   bool
	models    map[string]*model
	waiting   int       // in the models' queues
	running   int       // have a row
	reserved  int64     // bytes that the running ones may come to need
	arrivals  uint64    // requests admitted to a queue so far
	dropped   []*Stream // left the queue without running; the loop tells their outputs
	nextDue   time.Time // no waiting request's deadline is earlier; zero: none has one
	announced int       // requests on their way, see Announce
	hold      hold

	// Owned by the loop.
	active []*Stream // have a row, in order of admission
	flying []*flight // steps dispatched and not yet waited for, oldest first
	landed time.Time // when the latest step was
	turns  uint64    // steps planned so far
	govern governor
}

// New starts a Batcher on engine. The engine stays the caller's to close, after Shutdown.
func New(engine Engine, cfg Config) *Batcher {
	b := &Batcher{
		engine: engine,
		cfg:    cfg.withDefaults(),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		models: map[string]*model{},
	}
	b.metrics.init(b.cfg, time.Now())
	b.govern = newGovernor(b.cfg)
	b.stepCtx, b.cancelStep = context.WithCancel(context.Background())
	b.loadCtx, b.cancelLoad = context.WithCancel(context.Background())
	b.listed.Store(&[]listedModel{})
	go b.run()
	return b
}

// OnStep sets the function that is called, on the scheduler's goroutine, after the outputs of
// each step were told. It must not block, and must be set before the first Submit.
func (b *Batcher) OnStep(f func()) { b.onStep.Store(&f) }

// emit calls what OnStep has set.
func (b *Batcher) emit() {
	if f := b.onStep.Load(); f != nil {
		(*f)()
	}
}

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
