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
	reserve   int64          // bytes of its cache at its longest
	arrival   uint64         // place in the order of arrival
	submitted time.Time
	foundIdle bool        // nothing ran when it was submitted
	deadline  time.Time   // zero: none
	detach    func() bool // lets go of the request's context

	// end is set, once, when the request is to end before the next step. Writers hold b.mu.
	end atomic.Pointer[ending]

	// Written under b.mu; the loop, which alone writes rank, running and ended, reads those without.
	ended      bool
	running    bool          // has a row and its memory
	rank       class         // while running: its class when it was started
	waitsSince time.Time     // ageing counts from here
	waited     time.Duration // while running: how long it had waited
	queue      *list.List    // where it waits
	queued     *list.Element // in the queue, if not nil

	// Owned by the loop.
	sequence   Sequence
	attempt    int     // of the sequence: rows of an earlier one are void
	base       int     // completion tokens that the sequence has as prompt, after a preemption
	prefilled  int     // prompt tokens of the sequence that are computed
	ahead      int     // decodes dispatched and not yet waited for
	completed  int     // completion tokens
	kept       []int32 // completion tokens of a request that may be preempted
	resumed    bool    // no token has come since a preemption
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
		b.dequeue(s)
		b.dropped = append(b.dropped, s)
	}
	b.notify()
	return true
}

// leftToPrefill is the number of the sequence's prompt tokens to compute before the first
// decode, which consumes the last one.
func (s *Stream) leftToPrefill() int { return len(s.req.Prompt) + s.base - 1 - s.prefilled }

// mayDecode reports whether another decode may be dispatched. The one that brings the last
// token allowed is not followed by one that would be void.
func (s *Stream) mayDecode() bool { return s.leftToPrefill() == 0 && s.completed+s.ahead < s.limit }

// close gives the sequence back; steps under way that hold it are void for s.
func (s *Stream) close() {
	if s.sequence != nil {
		s.sequence.Close()
	}
	s.sequence, s.prefilled, s.ahead = nil, 0, 0
	s.attempt++
}
