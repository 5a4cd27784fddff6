package batcher

import (
	"time"

	"mlx-worker/internal/fault"
)

// start opens s's sequence; it returns why not, if it can't.
func (b *Batcher) start(s *Stream) *ending {
	first := s.startedAt.IsZero()
	if first {
		s.startedAt = time.Now()
	}
	if why := s.end.Load(); why != nil {
		return why
	}
	if first {
		b.metrics.queueTime.add(s.startedAt.Sub(s.submitted))
	}
	opts := s.req.Sequence
	opts.Generated = s.base
	err := b.guard("preparing the request", func() (err error) {
		s.sequence, err = b.engine.NewSequence(b.stepCtx, s.req.ModelID, s.prompt(), opts)
		return err
	})
	if err != nil {
		return b.failed(s, "preparing the request", err)
	}
	return nil
}

// mayDispatch reports whether a step may be dispatched before the ones under way are waited
// for. None is while one of them has a chunk of a prompt: such steps are long, and requests that
// come meanwhile share the next one.
func (b *Batcher) mayDispatch() bool {
	if len(b.flying) == 0 {
		return true
	}
	if len(b.flying) > b.engine.StepsAhead() {
		return false
	}
	for _, f := range b.flying {
		if f.prompt > 0 {
			return false
		}
	}
	return true
}

// dispatch plans a step and starts it, and reports whether it did.
func (b *Batcher) dispatch() bool {
	if len(b.active) == 0 || !b.mayDispatch() {
		return false
	}
	f := b.plan()
	if f == nil {
		return false
	}
	b.mu.Lock()
	f.model.flying++
	b.mu.Unlock()
	b.metrics.stepped(f)
	f.dispatched = time.Now()
	// An error is told when the step's turn comes: tokens may be under way before it.
	f.err = b.guard("the step", func() (err error) {
		f.step, err = b.engine.Dispatch(b.stepCtx, f.rows)
		return err
	})
	for i, r := range f.riders {
		if f.rows[i].PromptTokens == 0 {
			r.stream.ahead++
		}
	}
	b.flying = append(b.flying, f)
	return true
}

// settle waits for the oldest step under way and tells the outputs.
func (b *Batcher) settle() {
	f := b.flying[0]
	copy(b.flying, b.flying[1:])
	b.flying[len(b.flying)-1] = nil
	b.flying = b.flying[:len(b.flying)-1]

	results, err := b.wait(f)
	now := time.Now()
	if err == nil {
		began := f.dispatched
		if began.Before(b.landed) { // it was under way behind the one before it
			began = b.landed
		}
		f.model.costs.observe(f.decodes, f.prompt, now.Sub(began))
	}
	b.landed = now
	b.mu.Lock()
	f.model.flying--
	f.model.checkEmpty()
	b.mu.Unlock()

	ended := false
	for i, r := range f.riders {
		s := r.stream
		if s.attempt != r.attempt {
			continue // has ended or was preempted since
		}
		var why *ending
		switch {
		case err != nil:
			why = b.failed(s, "the step", err)
		case results[i].Err != nil:
			why = b.failed(s, "the step", results[i].Err)
		default:
			why = b.advance(s, f, f.rows[i], results[i], now)
		}
		if why != nil {
			b.finish(s, why)
			ended = true
		}
	}
	if ended {
		b.forgetEnded()
	}
	b.regulate()
}

func (b *Batcher) wait(f *flight) (results []StepResult, err error) {
	if f.err != nil {
		return nil, f.err
	}
	err = b.guard("the step", func() (err error) {
		results, err = f.step.Wait(b.stepCtx)
		return err
	})
	if err == nil && len(results) != len(f.rows) {
		err = fault.New(fault.Internal, "the engine returned %d results for %d rows", len(results), len(f.rows))
	}
	return results, err
}

// advance books what a row gained and returns why the request ends, if it does.
func (b *Batcher) advance(s *Stream, f *flight, row Row, r StepResult, now time.Time) *ending {
	if row.PromptTokens > 0 {
		s.prefilled += row.PromptTokens
		b.metrics.promptTokens.Add(uint64(row.PromptTokens))
		return nil
	}
	s.ahead--
	if why := s.end.Load(); why != nil {
		return why // cancelled during the step: its token is not wanted
	}
	b.count(s, f, r.Token, now)
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
func (b *Batcher) count(s *Stream, f *flight, id int32, now time.Time) {
	if s.completed == 0 {
		s.firstToken = now
		b.metrics.promptTokens.Add(1) // the last one is computed by the first decode
		b.metrics.ttft.add(now.Sub(s.submitted))
	} else {
		d := now.Sub(s.lastToken)
		b.metrics.interToken.add(d)
		// The wait after a preemption says nothing about steps, and steps that still have more
		// rows than the limit nothing about the limit.
		if !s.resumed && len(f.rows) <= b.metrics.rowLimit() {
			b.govern.observe(d)
		}
	}
	s.resumed = false
	s.lastToken = now
	s.completed++
	if s.rank == classBackground {
		s.kept = append(s.kept, id)
	}
	b.metrics.completionTokens.Add(1)
	b.metrics.tokens.add(now)
}
