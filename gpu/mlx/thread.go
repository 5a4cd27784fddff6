package mlx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// ErrThreadClosed is returned by Do after Close.
var ErrThreadClosed = errors.New("mlx: the engine thread is closed")

// PanicError is a panic inside a job, with the stack of the job.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("mlx: panic on the engine thread: %v", e.Value)
}

// Thread is one goroutine locked to one OS thread that runs jobs in the order of their Do.
// All MLX calls of a process go through one Thread.
type Thread struct {
	jobs   chan *job     // unbuffered: a job that was received runs at once
	closed chan struct{} // closed by Close: no new jobs
	done   chan struct{} // closed when the goroutine has ended
	once   sync.Once
}

type job struct {
	run  func() error
	done chan error // buffered: the thread never waits for a caller
}

// NewThread starts the goroutine. Close ends it.
func NewThread() *Thread {
	t := &Thread{jobs: make(chan *job), closed: make(chan struct{}), done: make(chan struct{})}
	go t.loop()
	return t
}

// Do runs fn on the thread and returns its error. While fn waits for its turn, the end of ctx
// makes Do return ctx's cause and fn never runs; once fn runs, Do waits for it. A panic in fn
// becomes a *PanicError and the thread lives on. Do must not be called from inside a job.
func (t *Thread) Do(ctx context.Context, fn func() error) error {
	j := &job{run: fn, done: make(chan error, 1)}
	select {
	case <-t.closed:
		return ErrThreadClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case t.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.closed:
		return ErrThreadClosed
	}
	return <-j.done
}

// Close refuses new jobs, lets the running one end and waits for the goroutine.
func (t *Thread) Close() {
	t.once.Do(func() { close(t.closed) })
	<-t.done
}

func (t *Thread) loop() {
	// Never unlocked: the thread's MLX state dies with it.
	runtime.LockOSThread()
	defer close(t.done)
	for {
		select {
		case <-t.closed:
			return
		case j := <-t.jobs:
			j.done <- runJob(j.run)
		}
	}
}

func runJob(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
