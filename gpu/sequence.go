package gpu

import (
	"context"
	"sync/atomic"

	"mlx-worker/batcher"
	"mlx-worker/gpu/cache"
	"mlx-worker/internal/fault"
)

// sequence is a prompt with its completion so far. All fields but closed belong to the MLX thread.
type sequence struct {
	engine *Engine
	model  *model
	opts   batcher.SequenceOptions

	tokens []int32 // the prompt, then what was sampled and read
	prompt int     // tokens of the prompt
	draws  uint64  // tokens sampled, those of the sequence that this one continues included

	prefill *cache.Sequence // until the first decode
	row     *cache.Row      // from the first decode to the end
	broken  bool            // a step with it failed, or left it out: the cache is gone

	closed atomic.Bool
}

// NewSequence implements batcher.Engine.
func (e *Engine) NewSequence(_ context.Context, modelID string, prompt []int32, opts batcher.SequenceOptions) (batcher.Sequence, error) {
	m, err := e.model(modelID)
	if err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		return nil, fault.New(fault.InvalidParams, "the prompt has no tokens").With("param", "prompt")
	}
	for _, id := range prompt {
		if id < 0 || int(id) >= m.VocabSize() {
			return nil, fault.New(fault.InvalidParams, "prompt token %d is not in 0..%d", id, m.VocabSize()-1).With("param", "prompt_tokens")
		}
	}
	e.open.Add(1)
	return newSequence(e, m, prompt, opts), nil
}

func newSequence(e *Engine, m *model, prompt []int32, opts batcher.SequenceOptions) *sequence {
	return &sequence{
		engine: e, model: m, opts: opts,
		tokens: prompt[:len(prompt):len(prompt)], prompt: len(prompt), draws: uint64(opts.Generated),
		prefill: cache.NewSequence(m.caches),
	}
}

// Close implements batcher.Sequence.
func (s *sequence) Close() {
	if s.closed.CompareAndSwap(false, true) {
		s.engine.open.Add(-1)
		s.engine.discard(s)
	}
}

// free drops the cache. A row's place in the batch stays a hole until the next step.
func (s *sequence) free() {
	if s.prefill != nil {
		s.prefill.Free()
	}
	if s.row != nil {
		s.model.batch.Vacate(s.row)
	}
	s.prefill, s.row = nil, nil
}

// check says why the row can't be part of a step.
func (s *sequence) check(promptTokens int) error {
	switch {
	case s.closed.Load():
		return fault.New(fault.Internal, "a row holds a closed sequence")
	case s.broken:
		return fault.New(fault.Internal, "a row holds a sequence whose cache is gone")
	case s.prefill == nil && promptTokens > 0:
		return fault.New(fault.Internal, "prefill of %d tokens after the first decode", promptTokens)
	case s.prefill == nil:
		return nil
	}
	switch left := s.prompt - s.prefill.Length(); {
	case promptTokens > 0 && promptTokens >= left:
		return fault.New(fault.Internal, "prefill of %d tokens with %d left: the last one belongs to the first decode", promptTokens, left)
	case promptTokens <= 0 && left != 1:
		return fault.New(fault.Internal, "decode with %d prompt tokens left, want 1", left)
	}
	return nil
}
