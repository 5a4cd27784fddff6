package batcher

import (
	"runtime/debug"
	"time"

	"mlx-worker/internal/fault"
)

// start opens s's sequence; it returns why not, if it can't.
func (b *Batcher) start(s *Stream) *ending {
	s.startedAt = time.Now()
	if why := s.end.Load(); why != nil {
		return why
	}
	b.metrics.queueTime.add(s.startedAt.Sub(s.submitted))
	err := b.guard("preparing the request", func() (err error) {
		s.sequence, err = b.engine.NewSequence(b.stepCtx, s.req.ModelID, s.req.Prompt, s.req.Sequence)
		return err
	})
	if err != nil {
		return b.failed(s, "preparing the request", err)
	}
	return nil
}

// step advances every active sequence once and tells the outputs.
func (b *Batcher) step() {
	rows := plan(b.active, b.cfg.PrefillStepTokens)
	b.metrics.stepped(len(rows))
	var results []StepResult
	err := b.guard("the step", func() (err error) {
		results, err = b.engine.Step(b.stepCtx, rows)
		return err
	})
	if err == nil && len(results) != len(rows) {
		err = fault.New(fault.Internal, "the engine returned %d results for %d rows", len(results), len(rows))
	}
	now := time.Now()
	staying := b.active[:0]
	for i, s := range b.active {
		var why *ending
		switch {
		case err != nil:
			why = b.failed(s, "the step", err)
		case results[i].Err != nil:
			why = b.failed(s, "the step", results[i].Err)
		default:
			why = b.advance(s, rows[i], results[i], now)
		}
		if why == nil {
			staying = append(staying, s)
			continue
		}
		b.finish(s, why)
	}
	clear(b.active[len(staying):])
	b.active = staying
}

// plan gives every sequence its row: a chunk of its prompt until one token is left, then
// one token a step.
func plan(active []*Stream, prefillStep int) []Row {
	rows := make([]Row, len(active))
	for i, s := range active {
		rows[i].Sequence = s.sequence
		if left := s.leftToPrefill(); left > 0 {
			rows[i].PromptTokens = min(left, prefillStep)
		} else {
			rows[i].Last = s.completed+1 == s.limit
		}
	}
	return rows
}

// advance books what a row gained and returns why the request ends, if it does.
func (b *Batcher) advance(s *Stream, row Row, r StepResult, now time.Time) *ending {
	if row.PromptTokens > 0 {
		s.prefilled += row.PromptTokens
		b.metrics.promptTokens.Add(uint64(row.PromptTokens))
		return nil
	}
	if why := s.end.Load(); why != nil {
		return why // cancelled during the step: its token is not wanted
	}
	b.count(s, now)
	token := Token{ID: r.Token, LogProb: r.LogProb, TopLogProbs: r.TopLogProbs, EndOfText: s.ends[r.Token]}
	stop := false
	if err := b.guard("the request's output", func() error {
		stop = s.req.Output.Token(token)
		return nil
	}); err != nil {
		return b.failed(s, "the request's output", err)
	}
	switch {
	case token.EndOfText:
		return &ending{reason: FinishStop, stopID: &token.ID}
	case stop:
		return &ending{reason: FinishStop}
	case s.completed == s.limit:
		return &ending{reason: FinishLength}
	}
	return nil
}

// count books a completion token.
func (b *Batcher) count(s *Stream, now time.Time) {
	if s.completed == 0 {
		s.firstToken = now
		b.metrics.promptTokens.Add(1) // the last one is computed by the first decode
		b.metrics.ttft.add(now.Sub(s.submitted))
	} else {
		b.metrics.interToken.add(now.Sub(s.lastToken))
	}
	s.lastToken = now
	s.completed++
	b.metrics.completionTokens.Add(1)
	b.metrics.tokens.add(now)
}

// finish ends s: its sequence is closed and its model released before the output is told, so
// that who hears of the end can unload the model.
func (b *Batcher) finish(s *Stream, why *ending) {
	s.detach()
	if s.sequence != nil {
		s.sequence.Close()
	}
	now := time.Now()
	b.mu.Lock()
	s.ended = true
	s.model.remove(s)
	if !s.startedAt.IsZero() {
		b.running--
		b.metrics.active.Store(int64(b.running))
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
