package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
)

const (
	modelID       = "m"
	contextLength = 16384
	vocabulary    = 3

	// The engine's answers: tokens that go on, and one that ends a request.
	tokenOn  int32 = 1
	tokenEnd int32 = 2
)

// engine is a batcher.Engine that takes a machine's time. A request says by its seed how many
// tokens it gets: the last one is tokenEnd.
type engine struct {
	machine *Machine
	ahead   int // StepsAhead

	mu       sync.Mutex
	free     time.Time // when the device has done all steps
	dispatch int       // steps dispatched and not waited for
	fault    error     // the first breach of the contract
}

var _ batcher.Engine = (*engine)(nil)

func (e *engine) Load(_ context.Context, r batcher.LoadRequest, _ func(batcher.LoadProgress)) (batcher.ModelInfo, error) {
	return batcher.ModelInfo{ModelID: r.ModelID, ContextLength: contextLength, VocabSize: vocabulary}, nil
}

func (e *engine) Unload(context.Context, string) (int64, error) { return 0, nil }

func (e *engine) NewSequence(_ context.Context, _ string, prompt []int32, o batcher.SequenceOptions) (batcher.Sequence, error) {
	return &sequence{prompt: len(prompt), drawn: o.Generated, total: int(o.Sampling.Seed)}, nil
}

func (e *engine) StepsAhead() int { return e.ahead }

func (e *engine) SequenceBytes(string, int) int64 { return 0 }

func (e *engine) Memory() batcher.Memory { return batcher.Memory{} }

func (e *engine) Close() error { return nil }

// Dispatch takes the host's time, then puts the step behind those that the device has.
func (e *engine) Dispatch(_ context.Context, rows []batcher.Row) (batcher.Step, error) {
	time.Sleep(e.machine.Host)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatch++
	if e.dispatch > 1+e.ahead {
		return nil, e.broken("%d steps under way", e.dispatch)
	}
	s := &step{engine: e, results: make([]batcher.StepResult, len(rows))}
	load := work{}
	for i, row := range rows {
		q := row.Sequence.(*sequence)
		left := q.prompt - q.consumed
		if row.PromptTokens > 0 {
			if row.PromptTokens > left-1 {
				return nil, e.broken("a chunk of %d tokens with %d left", row.PromptTokens, left)
			}
			load.add(q.consumed, row.PromptTokens)
			q.consumed += row.PromptTokens
			continue
		}
		if left > 1 {
			return nil, e.broken("a decode with %d prompt tokens left", left)
		}
		load.add(q.prompt+q.decoded, 0)
		q.decoded++
		s.results[i].Token = q.next()
	}
	s.done = e.later(time.Now()).Add(e.machine.stepTime(load))
	e.free = s.done
	return s, nil
}

// later is when the device could start a step that reaches it now.
func (e *engine) later(now time.Time) time.Time {
	if e.free.After(now) {
		return e.free
	}
	return now
}

func (e *engine) broken(format string, args ...any) error {
	err := fault.New(fault.Internal, format, args...)
	if e.fault == nil {
		e.fault = fmt.Errorf("the batcher broke the engine's contract: %w", err)
	}
	return err
}

// step is a step under way. Its results are known from the start.
type step struct {
	engine  *engine
	results []batcher.StepResult
	done    time.Time
}

func (s *step) Wait(context.Context) ([]batcher.StepResult, error) {
	time.Sleep(time.Until(s.done))
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.engine.dispatch--
	return s.results, nil
}

type sequence struct {
	prompt, consumed int // tokens of the prompt, and how many chunks took
	decoded          int // tokens that this sequence sampled
	drawn, total     int // tokens that the request sampled and is to get
}

func (q *sequence) next() int32 {
	q.drawn++
	if q.drawn == q.total {
		return tokenEnd
	}
	return tokenOn
}

func (q *sequence) Close() {}
