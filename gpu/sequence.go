package gpu

import (
	"context"
	"sync/atomic"

	"mlx-worker/batcher"
	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/gpu/sample"
	"mlx-worker/internal/fault"
)

// sequence is a prompt with its caches. All fields but closed belong to the MLX thread.
type sequence struct {
	engine *Engine
	model  *model
	prompt []int32
	opts   batcher.SequenceOptions
	caches []*cache.KV

	consumed int      // prompt tokens in the caches
	draws    uint64   // tokens sampled
	next     *sampled // dispatched and not read yet
	closed   atomic.Bool
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
	return newSequence(e, m, prompt, opts), nil
}

func newSequence(e *Engine, m *model, prompt []int32, opts batcher.SequenceOptions) *sequence {
	s := &sequence{engine: e, model: m, prompt: prompt, opts: opts}
	for range m.Layers() {
		s.caches = append(s.caches, &cache.KV{})
	}
	return s
}

// Close implements batcher.Sequence.
func (s *sequence) Close() {
	if s.closed.CompareAndSwap(false, true) {
		s.engine.discard(s)
	}
}

func (s *sequence) free() {
	for _, c := range s.caches {
		c.Free()
	}
	s.next.free()
	s.next = nil
}

// prefill runs n prompt tokens through the model and waits for their keys and values.
func (s *sequence) prefill(n int) error {
	if left := len(s.prompt) - s.consumed; n >= left {
		return fault.New(fault.Internal, "prefill of %d tokens with %d left: the last one belongs to the first decode", n, left)
	}
	err := mlx.Build(s.engine.runtime.Stream, func(scope *mlx.Scope) error {
		tokens := scope.Int32s(s.prompt[s.consumed:s.consumed+n], 1, n)
		s.model.Hidden(&nn.Context{Scope: scope, Caches: s.caches}, tokens)
		return nil
	})
	if err != nil {
		return err
	}
	s.consumed += n
	var state []mlx.Array
	for _, c := range s.caches {
		state = append(state, c.State()...)
	}
	if err := mlx.Eval(state...); err != nil {
		return err
	}
	return s.engine.runtime.ClearCache()
}

// dispatch starts what must be under way before the next token can be read: the decode of the
// last prompt token, and one step ahead unless the token under way is the last one wanted.
func (s *sequence) dispatch(last bool) error {
	if s.next == nil {
		if left := len(s.prompt) - s.consumed; left != 1 {
			return fault.New(fault.Internal, "decode with %d prompt tokens left, want 1", left)
		}
		first, err := s.decode(func(scope *mlx.Scope) mlx.Array {
			return scope.Int32s(s.prompt[s.consumed:], 1, 1)
		})
		if err != nil {
			return err
		}
		s.consumed++
		s.next = first
	}
	if last {
		return nil
	}
	token := s.next.token.Array()
	ahead, err := s.decode(func(scope *mlx.Scope) mlx.Array { return scope.Reshape(token, 1, 1) })
	if err != nil {
		return err
	}
	s.next.ahead = ahead
	return nil
}

// cacheClearTokens is how often the allocator's unused buffers are returned, as in mlx-lm.
const cacheClearTokens = 256

// collect waits for the token under way and makes the one dispatched ahead the next.
func (s *sequence) collect() (batcher.StepResult, error) {
	current := s.next
	s.next = current.ahead
	current.ahead = nil
	defer current.free()
	result, err := current.read(s.engine.runtime.Stream)
	if err == nil && s.draws%cacheClearTokens == 0 {
		err = s.engine.runtime.ClearCache()
	}
	return result, err
}

// logits builds the model's output for a token, [1, vocab], without evaluating it.
func (s *sequence) logits(input func(*mlx.Scope) mlx.Array) (kept *mlx.Ref, err error) {
	err = mlx.Build(s.engine.runtime.Stream, func(scope *mlx.Scope) (err error) {
		kept, err = scope.Keep(s.buildLogits(scope, input(scope)))
		return err
	})
	return kept, err
}

func (s *sequence) buildLogits(scope *mlx.Scope, tokens mlx.Array) mlx.Array {
	hidden := s.model.Hidden(&nn.Context{Scope: scope, Caches: s.caches}, tokens)
	return scope.Reshape(s.model.Logits(scope, hidden), 1, s.model.VocabSize())
}

// decode builds a step from one token, [1, 1], to the sampled next one, and dispatches it.
func (s *sequence) decode(input func(*mlx.Scope) mlx.Array) (*sampled, error) {
	out := &sampled{}
	err := mlx.Build(s.engine.runtime.Stream, func(scope *mlx.Scope) error {
		scores := s.buildLogits(scope, input(scope))
		if s.wantsLogProbs() {
			scores = sample.LogProbs(scope, scores)
		}
		return out.keep(scope, scores, s.opts, s.draws)
	})
	if err == nil {
		err = mlx.AsyncEval(out.arrays()...)
	}
	if err != nil {
		out.free()
		return nil, err
	}
	s.draws++
	return out, nil
}

// wantsLogProbs is false for greedy decoding, where the logits give the same token.
func (s *sequence) wantsLogProbs() bool {
	return s.opts.LogProbs || s.opts.TopLogProbs > 0 || s.opts.Sampling.Temperature > 0
}
