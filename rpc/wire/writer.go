package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

const (
	// queueLimit is how many bytes may wait for a slow reader before senders wait too.
	queueLimit = 1 << 20
	// overdraft is how many bytes may be queued on top by answers that must not wait.
	overdraft = 4 << 20
	// keptBuffer is the largest buffer that is kept for reuse.
	keptBuffer = 2 * queueLimit
)

var (
	errPeerStalled  = errors.New("the peer sends requests but does not read the answers")
	errWriterClosed = errors.New("the connection is closed")
)

// writer owns the outgoing stream: one goroutine writes everything that is queued with one
// call. Senders reserve room first (and wait for it, in order of arrival), then enqueue
// without waiting, so that no lock is held while somebody waits for a slow peer.
type writer struct {
	out io.WriteCloser

	turn   chan struct{} // held by the sender that is next to get room
	wake   chan struct{} // something was queued, or closing was set
	failed chan struct{} // closed with the first error
	done   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	pending  []byte        // frames that the goroutine has not taken yet
	queued   int           // bytes in pending and in the write that is under way
	reserved int           // bytes promised to senders
	borrowed int           // bytes in pending that were not reserved
	freed    chan struct{} // closed and replaced when queued or reserved falls
	closing  bool
	err      error
}

func newWriter(out io.WriteCloser) *writer {
	w := &writer{
		out:    out,
		turn:   make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		failed: make(chan struct{}),
		done:   make(chan struct{}),
		freed:  make(chan struct{}),
	}
	go w.run()
	return w
}

// reserve waits until n bytes have room, ctx ends or the writer fails. A frame larger than
// the limit has room once nothing else waits. Each success needs one release.
func (w *writer) reserve(ctx context.Context, n int) error {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.failed:
		return w.failure()
	}
	defer func() { <-w.turn }()
	for {
		ok, freed, err := w.tryReserve(n)
		if ok || err != nil {
			return err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tryReserve is reserve without waiting. If there is no room, freed says when to try again.
func (w *writer) tryReserve(n int) (ok bool, freed <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false, nil, w.err
	}
	if used := w.queued + w.reserved; used > 0 && used+n > queueLimit {
		return false, w.freed, nil
	}
	w.reserved += n
	return true, nil, nil
}

func (w *writer) release(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved -= n
	w.signalFreed()
}

// borrow permits n bytes that were not reserved. A peer that takes so little that the loan
// is used up has failed.
func (w *writer) borrow(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.borrowed += n; w.borrowed > overdraft {
		w.fail(errPeerStalled)
	}
	return w.err
}

// enqueue adds a frame whose body is start followed by payload, and never waits.
func (w *writer) enqueue(start, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.closing {
		return errWriterClosed
	}
	body := len(start) + len(payload)
	w.pending = binary.BigEndian.AppendUint32(w.pending, uint32(body))
	w.pending = append(w.pending, start...)
	w.pending = append(w.pending, payload...)
	w.queued += headerSize + body
	w.signal()
	return nil
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// signalFreed wakes the sender that waits for room. w.mu is held.
func (w *writer) signalFreed() {
	close(w.freed)
	w.freed = make(chan struct{})
}

// fail records the first error; everything that is queued is lost. w.mu is held.
func (w *writer) fail(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	w.pending = nil
	close(w.failed)
	w.signalFreed()
	w.signal()
}

// failure returns the error that ended the writer, or nil.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writer) run() {
	defer close(w.done)
	var spare []byte
	for {
		<-w.wake
		for {
			out := w.take(spare)
			if len(out) == 0 {
				break
			}
			_, err := w.out.Write(out)
			w.wrote(len(out), err)
			if spare = out; cap(spare) > keptBuffer {
				spare = nil
			}
		}
		w.mu.Lock()
		end := w.closing || w.err != nil
		w.mu.Unlock()
		if end {
			return
		}
	}
}

// take swaps the queue for an empty buffer.
func (w *writer) take(empty []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(w.pending) == 0 {
		return nil
	}
	out := w.pending
	w.pending = empty[:0]
	w.borrowed = 0
	return out
}

func (w *writer) wrote(n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued -= n
	if err != nil {
		w.fail(err)
		return
	}
	w.signalFreed()
}

// flush refuses further frames and waits until the queued ones are written. When ctx ends
// first, or the writer has failed, the stream is closed under a write that is under way.
func (w *writer) flush(ctx context.Context) error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.signal()
	select {
	case <-w.done:
	case <-w.failed:
	case <-ctx.Done():
		w.mu.Lock()
		w.fail(context.Cause(ctx))
		w.mu.Unlock()
	}
	return errors.Join(w.failure(), w.out.Close())
}
