package batcher

import (
	"container/list"
	"sync/atomic"
	"time"

	"mlx-worker/internal/fault"
)

// Stream is an admitted request.
type Stream struct {
	b         *Batcher
	req       Request
	model     *model
	ends      map[int32]bool // token ids that end the completion
	limit     int            // most completion tokens: MaxTokens, or what the context leaves
	submitted time.Time
	deadline  time.Time   // zero: none
	detach    func() bool // lets go of the request's context

	// end is set, once, when the request is to end before the next step. Writers hold b.mu.
	end atomic.Pointer[ending]

	// Under b.mu.
	ended  bool
	queued *list.Element // in the queue, if not nil

	// Owned by the loop.
	sequence   Sequence
	prefilled  int // prompt tokens computed
	completed  int // completion tokens
	startedAt  time.Time
	firstToken time.Time
	lastToken  time.Time
}

// ending is why a request is to end.
type ending struct {
	reason FinishReason
	stopID *int32
	err    *fault.Error
}

// Cancel ends the request before the next step, also while it is queued or in the middle of
// its prefill. It reports whether the request was still active; no Token follows, and Done
// does, with FinishCancelled unless something else had ended the request already.
func (s *Stream) Cancel() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.b.endEarly(s, &ending{reason: FinishCancelled})
}

// endEarly marks s to end before the next step and reports whether it was still active. A
// waiting request gives its place in the queue back at once. b.mu is held.
func (b *Batcher) endEarly(s *Stream, why *ending) bool {
	if s.ended {
		return false
	}
	if !s.end.CompareAndSwap(nil, why) {
		return true // is ending already
	}
	if s.queued != nil {
		b.queue.remove(s)
		b.metrics.queued.Store(int64(b.queue.len()))
		b.dropped = append(b.dropped, s)
	}
	b.notify()
	return true
}

// leftToPrefill is the number of prompt tokens to compute before the first decode, which
// consumes the last one.
func (s *Stream) leftToPrefill() int { return len(s.req.Prompt) - 1 - s.prefilled }
