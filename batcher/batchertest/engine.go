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
)

// Engine is a batcher.Engine for tests. Its exported fields are set before use.
type Engine struct {
	// Next gives completion token i (from 0) of a prompt; default: NextToken.
	Next func(prompt []int32, i int) int32
	// StepTime and PromptTokenTime are slept in a step, the latter per token of the longest
	// chunk. In a synctest bubble that is fake time.
	StepTime, PromptTokenTime time.Duration
	// OnLoad runs within Load; its error fails it. nil: loads succeed at once.
	OnLoad func(ctx context.Context, req batcher.LoadRequest, progress func(batcher.LoadProgress)) error
	// OnUnload runs within Unload; its error fails it.
	OnUnload func(ctx context.Context, modelID string) error
	// OnSequence runs within NewSequence; its error fails it.
	OnSequence func(modelID string, prompt []int32) error
	// OnStep runs within Step before anything is computed; its error fails the step, errs
	// fail single rows.
	OnStep func(ctx context.Context, rows []batcher.Row) (errs []error, err error)
	// Info is what Load returns, with the id filled in.
	Info batcher.ModelInfo

	t testing.TB

	mu       sync.Mutex
	stepping bool
	models   map[string]int // open sequences by model
	open     int
	steps    int
	chunks   []int
	maxRows  int
}

var _ batcher.Engine = (*Engine)(nil)

// New returns an engine whose models have a context of 4096 tokens and a vocabulary of 1000.
// When t ends, all sequences must have been closed.
func New(t testing.TB) *Engine {
	e := &Engine{
		t: t, Next: NextToken, models: map[string]int{},
		Info: batcher.ModelInfo{Architecture: "fake", ContextLength: 4096, VocabSize: 1000, DType: "float32"},
	}
	t.Cleanup(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.open != 0 {
			t.Errorf("%d sequences were never closed", e.open)
		}
	})
	return e
}

// NextToken is the default rule: a token of 10..999 by the prompt and the place.
func NextToken(prompt []int32, i int) int32 {
	h := uint32(2166136261)
	for _, id := range append(slices.Clone(prompt), int32(i)) {
		h = (h ^ uint32(id)) * 16777619
	}
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

// Steps is the number of steps so far.
func (e *Engine) Steps() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.steps
}

// Chunks are the sizes of the prefill chunks so far, in order.
func (e *Engine) Chunks() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.chunks)
}

// MaxRows is the greatest number of rows that a step had.
func (e *Engine) MaxRows() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.maxRows
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
	if _, loaded := e.models[req.ModelID]; loaded {
		e.t.Errorf("model %q was loaded twice", req.ModelID)
	}
	e.models[req.ModelID] = 0
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
	open, loaded := e.models[modelID]
	if !loaded || open > 0 {
		e.t.Errorf("model %q was unloaded: loaded %v, %d open sequences", modelID, loaded, open)
	}
	delete(e.models, modelID)
	return 1 << 20, nil
}

// NewSequence implements batcher.Engine.
func (e *Engine) NewSequence(_ context.Context, modelID string, prompt []int32, _ batcher.SequenceOptions) (batcher.Sequence, error) {
	if e.OnSequence != nil {
		if err := e.OnSequence(modelID, prompt); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, loaded := e.models[modelID]; !loaded || len(prompt) == 0 {
		e.t.Errorf("a sequence of model %q (loaded %v) with %d prompt tokens", modelID, loaded, len(prompt))
	}
	e.models[modelID]++
	e.open++
	return &Sequence{engine: e, model: modelID, Prompt: prompt}, nil
}

// Step implements batcher.Engine.
func (e *Engine) Step(ctx context.Context, rows []batcher.Row) ([]batcher.StepResult, error) {
	e.begin(rows)
	defer e.end()
	longest := 0
	for _, row := range rows {
		longest = max(longest, row.PromptTokens)
	}
	time.Sleep(e.StepTime + time.Duration(longest)*e.PromptTokenTime)
	var errs []error
	if e.OnStep != nil {
		var err error
		if errs, err = e.OnStep(ctx, rows); err != nil {
			return nil, err
		}
	}
	results := make([]batcher.StepResult, len(rows))
	for i, row := range rows {
		if i < len(errs) && errs[i] != nil {
			results[i].Err = errs[i]
			continue
		}
		results[i] = row.Sequence.(*Sequence).advance(row)
	}
	return results, nil
}

func (e *Engine) begin(rows []batcher.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stepping || len(rows) == 0 {
		e.t.Errorf("a step of %d rows while stepping is %v", len(rows), e.stepping)
	}
	e.stepping = true
	e.steps++
	e.maxRows = max(e.maxRows, len(rows))
	for _, row := range rows {
		if s := row.Sequence.(*Sequence); s.closed {
			e.t.Error("a step with a closed sequence")
		}
		if row.PromptTokens > 0 {
			e.chunks = append(e.chunks, row.PromptTokens)
		}
	}
}

func (e *Engine) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stepping = false
}

// Memory implements batcher.Engine.
func (e *Engine) Memory() batcher.Memory { return batcher.Memory{} }

// Close implements batcher.Engine.
func (e *Engine) Close() error { return nil }

// Sequence is a sequence of an Engine.
type Sequence struct {
	Prompt []int32

	engine    *Engine
	model     string
	consumed  int // prompt tokens, by prefill
	generated int
	last      bool // the batcher has promised that no decode follows
	closed    bool // under engine.mu
}

func (s *Sequence) advance(row batcher.Row) batcher.StepResult {
	left := len(s.Prompt) - s.consumed
	switch {
	case s.last:
		s.engine.t.Error("a step after the last one")
	case row.PromptTokens > 0:
		if row.PromptTokens > left-1 || row.Last {
			s.engine.t.Errorf("a chunk of %d tokens with %d left, last %v", row.PromptTokens, left, row.Last)
		}
		s.consumed += row.PromptTokens
		return batcher.StepResult{}
	case left != 1:
		s.engine.t.Errorf("a decode with %d prompt tokens left", left)
	}
	s.last = row.Last
	token := s.engine.Next(s.Prompt, s.generated)
	s.generated++
	return batcher.StepResult{Token: token, LogProb: -0.5}
}

// Close implements batcher.Sequence.
func (s *Sequence) Close() {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.engine.open--
	s.engine.models[s.model]--
}
