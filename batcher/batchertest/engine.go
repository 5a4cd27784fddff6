// Package batchertest has an Engine without a model: it answers by a rule, takes the time it
// is told to take, and fails the test when the batcher breaks the Engine's contract.
package batchertest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
)

// Engine is a batcher.Engine for tests. Its exported fields are set before use; SetTimes changes some later.
type Engine struct {
	// Next gives completion token i (from 0) of a prompt; default: NextToken.
	Next func(prompt []int32, i int) int32
	// A step takes StepTime, RowTime for each decode and PromptTokenTime for each prompt token.
	// Steps run one after another, beginning when they are dispatched. In a synctest bubble that
	// is fake time.
	StepTime, RowTime, PromptTokenTime time.Duration
	// Ahead is what StepsAhead returns.
	Ahead int
	// BytesPerToken is the cache of one token, LimitBytes the memory limit; 0: unknown. Caches
	// are checked against it at every step.
	BytesPerToken, LimitBytes int64
	// OnLoad runs within Load; its error fails it. nil: loads succeed at once.
	OnLoad func(ctx context.Context, req batcher.LoadRequest, progress func(batcher.LoadProgress)) error
	// OnUnload runs within Unload; its error fails it.
	OnUnload func(ctx context.Context, modelID string) error
	// OnSequence runs within NewSequence; its error fails it.
	OnSequence func(modelID string, prompt []int32) error
	// OnDispatch runs within Dispatch; its error fails the step.
	OnDispatch func(rows []batcher.Row) error
	// OnStep runs within Wait, when the step's time has passed; its error fails the step, errs
	// fail single rows.
	OnStep func(ctx context.Context, rows []batcher.Row) (errs []error, err error)
	// OnToken is asked for completion token i of a prompt before it is sampled; its error fails
	// the row.
	OnToken func(prompt []int32, i int) error
	// Info is what Load returns, with the id filled in.
	Info batcher.ModelInfo

	t testing.TB

	mu     sync.Mutex
	models map[string]*model
	flying []*step
	freeAt time.Time // when the last step dispatched has its results
	open   int
	count  counts
}

type model struct {
	weights int64
	open    map[*Sequence]bool
}

// counts are what tests ask for.
type counts struct {
	steps, sequences, maxRows, maxFlying int
	chunks                               []int
}

var _ batcher.Engine = (*Engine)(nil)

// New returns an engine whose models have a context of 4096 tokens and a vocabulary of 1000.
// When t ends, all sequences must have been closed and all steps waited for.
func New(t testing.TB) *Engine {
	e := &Engine{
		t: t, Next: NextToken, models: map[string]*model{},
		Info: batcher.ModelInfo{Architecture: "fake", ContextLength: 4096, VocabSize: 1000, DType: "float32"},
	}
	t.Cleanup(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.open != 0 || len(e.flying) != 0 {
			t.Errorf("%d sequences were never closed, %d steps never waited for", e.open, len(e.flying))
		}
	})
	return e
}

// NextToken is the default rule: a token of 10..999 by the prompt and the place.
func NextToken(prompt []int32, i int) int32 {
	h := uint32(2166136261)
	for _, id := range prompt {
		h = (h ^ uint32(id)) * 16777619
	}
	h = (h ^ uint32(i)) * 16777619
	return int32(10 + h%990)
}

// Completion is the rule's first n tokens.
func (e *Engine) Completion(prompt []int32, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = e.Next(prompt, i)
	}
	return out
}

// SetTimes changes what steps take from now on.
func (e *Engine) SetTimes(step, row, promptToken time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.StepTime, e.RowTime, e.PromptTokenTime = step, row, promptToken
}

// Steps is the number of steps so far.
func (e *Engine) Steps() int { return e.counts().steps }

// Sequences is the number of sequences so far.
func (e *Engine) Sequences() int { return e.counts().sequences }

// Chunks are the sizes of the prefill chunks so far, in order.
func (e *Engine) Chunks() []int { return e.counts().chunks }

// MaxRows is the greatest number of rows that a step had.
func (e *Engine) MaxRows() int { return e.counts().maxRows }

// MaxFlying is the greatest number of steps that were not waited for at a time.
func (e *Engine) MaxFlying() int { return e.counts().maxFlying }

func (e *Engine) counts() counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.count
	c.chunks = slices.Clone(c.chunks)
	return c
}

// Open is the number of open sequences.
func (e *Engine) Open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open
}

// Load implements batcher.Engine.
func (e *Engine) Load(ctx context.Context, req batcher.LoadRequest, progress func(batcher.LoadProgress)) (batcher.ModelInfo, error) {
	if e.OnLoad != nil {
		if err := e.OnLoad(ctx, req, progress); err != nil {
			return batcher.ModelInfo{}, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.models[req.ModelID] != nil {
		e.t.Errorf("model %q was loaded twice", req.ModelID)
	}
	e.models[req.ModelID] = &model{weights: e.Info.SizeBytes, open: map[*Sequence]bool{}}
	info := e.Info
	info.ModelID = req.ModelID
	if req.ContextLength > 0 {
		info.ContextLength = req.ContextLength
	}
	return info, nil
}

// Unload implements batcher.Engine. It gives back 1 MiB.
func (e *Engine) Unload(ctx context.Context, modelID string) (int64, error) {
	if e.OnUnload != nil {
		if err := e.OnUnload(ctx, modelID); err != nil {
			return 0, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.models[modelID]
	if m == nil || len(m.open) > 0 {
		e.t.Errorf("model %q was unloaded: %+v", modelID, m)
	}
	for _, s := range e.flying {
		if s.rows[0].Sequence.(*Sequence).model == modelID {
			e.t.Errorf("model %q was unloaded during a step", modelID)
		}
	}
	delete(e.models, modelID)
	return 1 << 20, nil
}

// NewSequence implements batcher.Engine.
func (e *Engine) NewSequence(_ context.Context, modelID string, prompt []int32, opts batcher.SequenceOptions) (batcher.Sequence, error) {
	if e.OnSequence != nil {
		if err := e.OnSequence(modelID, prompt); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	first := len(prompt) - opts.Generated
	m := e.models[modelID]
	if m == nil || first < 1 || opts.Generated < 0 {
		e.t.Errorf("a sequence of model %q (%+v) with %d prompt tokens, %d of them generated", modelID, m, len(prompt), opts.Generated)
		return nil, fault.New(fault.Internal, "a sequence that breaks the contract")
	}
	if want := e.Completion(prompt[:first], opts.Generated); !slices.Equal(prompt[first:], want) {
		e.t.Errorf("a sequence continues from %v, want %v", prompt[first:], want)
	}
	s := &Sequence{Prompt: prompt[:first], engine: e, model: modelID, left: len(prompt), generated: opts.Generated}
	m.open[s] = true
	e.open++
	e.count.sequences++
	return s, nil
}

// StepsAhead implements batcher.Engine.
func (e *Engine) StepsAhead() int { return e.Ahead }

// SequenceBytes implements batcher.Engine.
func (e *Engine) SequenceBytes(modelID string, tokens int) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.models[modelID] == nil {
		return 0
	}
	return int64(tokens) * e.BytesPerToken
}

// Memory implements batcher.Engine.
func (e *Engine) Memory() batcher.Memory { return batcher.Memory{LimitBytes: e.LimitBytes} }

// Close implements batcher.Engine.
func (e *Engine) Close() error { return nil }
