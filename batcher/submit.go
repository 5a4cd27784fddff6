package batcher

import (
	"context"
	"time"

	"mlx-worker/internal/fault"
)

// Submit admits r or refuses it at once; it never waits. Refusals are *fault.Error of kind
// InvalidParams (data: param), ModelNotLoaded, ContextLengthExceeded (limit, prompt_tokens),
// QueueFull (limit, queued, retry_after_ms), InsufficientMemory (required_bytes,
// available_bytes) if its cache could not fit beside the loaded models even alone, ShuttingDown
// or, if ctx has ended, Cancelled.
//
// ctx must live as long as the request: its end is a Cancel. Token and Done may be called
// before Submit returns.
func (b *Batcher) Submit(ctx context.Context, r Request) (*Stream, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fault.New(fault.Cancelled, "the request was cancelled: %w", context.Cause(ctx))
	}
	s := &Stream{b: b, req: r, ends: r.ends(), submitted: time.Now()}
	if r.Timeout > 0 {
		s.deadline = s.submitted.Add(r.Timeout)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.enter(s); err != nil {
		return nil, err
	}
	// Under the lock: the loop can't end s before detach is set.
	s.detach = context.AfterFunc(ctx, func() { s.Cancel() })
	b.notify()
	return s, nil
}

// enter puts s into its model's queue or says why not. b.mu is held.
func (b *Batcher) enter(s *Stream) error {
	if b.closing {
		return fault.New(fault.ShuttingDown, "the worker is shutting down")
	}
	m := b.models[s.req.ModelID]
	if m == nil || m.phase != ModelReady {
		return notLoaded(s.req.ModelID, m)
	}
	if err := s.fit(m.info); err != nil {
		return err
	}
	s.reserve = b.engine.SequenceBytes(m.id, len(s.req.Prompt)+s.limit)
	if room := b.cacheRoom(); s.reserve > room {
		return insufficient(s.reserve, room)
	}
	if waiting := b.backlog(); waiting >= b.cfg.MaxQueue {
		b.metrics.rejected.Add(1)
		return fault.New(fault.QueueFull, "the queue is full: %d requests wait, the limit is %d", waiting, b.cfg.MaxQueue).
			With("limit", b.cfg.MaxQueue).With("queued", waiting).With("retry_after_ms", b.metrics.retryAfter().Milliseconds())
	}
	s.model, s.foundIdle = m, b.running == 0
	m.add(s)
	b.enqueue(s)
	b.metrics.submitted.Add(1)
	return nil
}

// backlog is how many requests wait and find no free row, whether or not the loop has started
// the others yet. b.mu is held.
func (b *Batcher) backlog() (waiting int) {
	for _, m := range b.models {
		waiting += max(0, m.queue.len()+m.running-b.metrics.rowLimit())
	}
	return waiting
}

// check refuses what is wrong whatever the model.
func (r *Request) check() error {
	switch {
	case r.Output == nil:
		return fault.New(fault.Internal, "a request without Output")
	case len(r.Prompt) == 0:
		return invalid("prompt", "the prompt is empty: at least one token is required")
	case r.MaxTokens < 1:
		return invalid("max_tokens", "max_tokens is %d; accepted: at least 1", r.MaxTokens)
	case r.Priority < 0 || int(r.Priority) >= len(classOf):
		return invalid("priority", "priority %d is not known", r.Priority)
	case r.Timeout < 0:
		return invalid("timeout_ms", "the timeout is negative")
	}
	return nil
}

// fit checks the request against its model and sets the completion's limit.
func (s *Stream) fit(info ModelInfo) error {
	n := len(s.req.Prompt)
	room := s.req.MaxTokens
	if info.ContextLength > 0 {
		room = info.ContextLength - n
	}
	if room < 1 {
		return fault.New(fault.ContextLengthExceeded, "the prompt has %d tokens; the context holds %d, one of which the completion needs", n, info.ContextLength).
			With("limit", info.ContextLength).With("prompt_tokens", n)
	}
	s.limit = min(s.req.MaxTokens, room)
	for i, id := range s.req.Prompt {
		// An id outside the embedding would read foreign memory on some backends.
		if id < 0 || info.VocabSize > 0 && int(id) >= info.VocabSize {
			return invalid("prompt_tokens", "prompt token %d is %d; accepted: 0 to %d", i, id, info.VocabSize-1)
		}
	}
	return nil
}

// ends is the set of ids that end the completion.
func (r *Request) ends() map[int32]bool {
	set := make(map[int32]bool, len(r.EOSIDs)+len(r.StopIDs))
	if !r.IgnoreEOS {
		for _, id := range r.EOSIDs {
			set[id] = true
		}
	}
	for _, id := range r.StopIDs {
		set[id] = true
	}
	return set
}

func invalid(param, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParams, format, args...).With("param", param)
}
