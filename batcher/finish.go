package batcher

import (
	"runtime/debug"
	"time"

	"mlx-worker/internal/fault"
)

// finish ends s: its sequence is closed and its model released before the output is told, so
// that who hears of the end can unload the model.
func (b *Batcher) finish(s *Stream, why *ending) {
	s.detach()
	s.close()
	now := time.Now()
	b.mu.Lock()
	s.ended = true
	s.model.remove(s)
	if s.running {
		b.vacate(s)
	}
	b.mu.Unlock()
	b.metrics.finished(s, why.reason, now)

	f := Finish{Reason: why.reason, StopTokenID: why.stopID, Stats: s.stats(now)}
	if why.err != nil {
		f.Err = why.err
	}
	// A panic here is logged; there is nobody left to tell.
	_ = b.guard("the request's output", func() error {
		s.req.Output.Done(f)
		return nil
	})
}

func (s *Stream) stats(now time.Time) Stats {
	stats := Stats{PromptTokens: len(s.req.Prompt), CompletionTokens: s.completed, Total: now.Sub(s.submitted)}
	if s.startedAt.IsZero() {
		stats.Queue = stats.Total
		return stats
	}
	stats.Queue = s.startedAt.Sub(s.submitted)
	if s.completed > 0 {
		stats.Prefill = s.firstToken.Sub(s.startedAt)
		stats.TTFT = s.firstToken.Sub(s.submitted)
		stats.Decode = s.lastToken.Sub(s.firstToken)
	}
	return stats
}

// guard calls f and turns its panic into an error; the stack goes to the log.
func (b *Batcher) guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.cfg.Logger.Error("panic", "in", what, "panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "%s failed by an internal fault", what)
		}
	}()
	return f()
}

// failed is the end of a request by err; one that was ending anyway ends as it was to.
func (b *Batcher) failed(s *Stream, what string, err error) *ending {
	if why := s.end.Load(); why != nil {
		return why
	}
	return &ending{reason: FinishError, err: b.asFault(what, err, fault.Generation)}
}
