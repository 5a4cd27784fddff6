package gpu

import (
	"context"
	"errors"
	"maps"
	"slices"

	"mlx-worker/batcher"
	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/gpu/sample"
	"mlx-worker/internal/fault"
)

// step is a step under way. Its fields belong to the MLX thread.
type step struct {
	engine  *Engine
	model   *model
	results []batcher.StepResult

	decoding []*sequence // in the order of the batch
	places   []int       // of their results
	chunks   []cache.Chunk
	tokens   []int32    // of the chunks
	sampled  sampled    // of decoding
	state    []*mlx.Ref // of the chunks' caches
}

// Dispatch implements batcher.Engine. Rows that cannot be part of the step fail alone.
func (e *Engine) Dispatch(ctx context.Context, rows []batcher.Row) (batcher.Step, error) {
	st := &step{engine: e, results: make([]batcher.StepResult, len(rows))}
	if err := e.do(ctx, func() error { return stepError(st.dispatch(rows)) }); err != nil {
		return nil, err
	}
	return st, nil
}

// Wait implements batcher.Step.
func (st *step) Wait(ctx context.Context) ([]batcher.StepResult, error) {
	if err := st.engine.do(ctx, func() error { return stepError(st.collect()) }); err != nil {
		return nil, err
	}
	return st.results, nil
}

// StepsAhead implements batcher.Engine. On the CPU the host's part of a step is short beside the
// device's, and a step ahead would copy the KV cache, which the step before it still holds.
func (e *Engine) StepsAhead() int {
	if e.info.Backend == mlx.CPU {
		return 0
	}
	return 1
}

func (st *step) dispatch(rows []batcher.Row) error {
	places := st.admit(rows)
	if st.model == nil {
		return nil // no row is left
	}
	err := st.arrange(places)
	if err == nil {
		err = st.build()
	}
	if err == nil {
		err = mlx.AsyncEval(st.arrays()...)
	}
	if err != nil {
		st.fail()
		return err
	}
	st.model.flight = st
	return nil
}

// admit sorts the rows that can be part of the step into decoding and chunks, and returns the
// places of the decoding ones.
func (st *step) admit(rows []batcher.Row) map[*sequence]int {
	places := map[*sequence]int{}
	for i, row := range rows {
		s, ok := row.Sequence.(*sequence)
		if !ok {
			st.results[i].Err = fault.New(fault.Internal, "a row holds a sequence of another engine: %T", row.Sequence)
			continue
		}
		if err := s.check(row.PromptTokens); err != nil {
			st.results[i].Err = err
			continue
		}
		if st.model == nil {
			st.model = s.model
		}
		if st.model != s.model {
			st.results[i].Err = fault.New(fault.Internal, "the rows of a step are of two models")
			continue
		}
		if row.PromptTokens > 0 {
			st.chunks = append(st.chunks, cache.Chunk{Sequence: s.prefill, N: row.PromptTokens})
			st.tokens = append(st.tokens, s.tokens[s.prefill.Length():][:row.PromptTokens]...)
			continue
		}
		places[s] = i
	}
	return places
}

// arrange makes the batch hold the decoding sequences and no others.
func (st *step) arrange(places map[*sequence]int) error {
	m := st.model
	var leaving []*cache.Row
	for row, s := range m.rows {
		if _, stays := places[s]; !stays {
			leaving = append(leaving, row)
			delete(m.rows, row)
			s.row, s.broken = nil, true
		}
	}
	var joining []*sequence
	for s := range places {
		if s.row == nil {
			joining = append(joining, s)
		}
	}
	slices.SortFunc(joining, func(a, b *sequence) int { return places[a] - places[b] })
	caches := make([]*cache.Sequence, len(joining))
	for i, s := range joining {
		caches[i] = s.prefill
	}
	joined, err := m.batch.Arrange(st.engine.runtime.Stream, leaving, caches)
	if err != nil {
		st.decoding = append(st.decoding, joining...) // to fail
		return err
	}
	for i, s := range joining {
		s.row, s.prefill = joined[i], nil
		m.rows[s.row] = s
	}
	for _, row := range m.batch.Rows() {
		s := m.rows[row]
		st.decoding = append(st.decoding, s)
		st.places = append(st.places, places[s])
	}
	return nil
}

// build makes the graph from the newest tokens to the next ones and counts it as done.
func (st *step) build() error {
	m := st.model
	return mlx.Build(st.engine.runtime.Stream, func(scope *mlx.Scope) error {
		pass := cache.NewPass(scope, m.caches, m.batch, st.chunks...)
		inFlight := st.inFlight()
		newest := st.newest(scope, inFlight)
		tokens := newest
		if len(st.tokens) > 0 {
			tokens = scope.Int32s(st.tokens, len(st.tokens))
			if len(st.decoding) > 0 {
				tokens = scope.Concatenate(0, newest, tokens)
			}
		}
		hidden := m.Hidden(&nn.Context{Scope: scope, Pass: pass}, scope.Reshape(tokens, 1, len(st.decoding)+len(st.tokens)))
		if err := scope.Err(); err != nil {
			return err
		}
		if n := len(st.decoding); n > 0 {
			if len(st.tokens) > 0 {
				hidden = scope.SliceAxis(hidden, 1, 0, n)
			}
			logits := scope.Reshape(m.Logits(scope, hidden), n, m.VocabSize())
			if err := st.sampled.keep(scope, logits, newest, st.samplingRows(inFlight)); err != nil {
				return err
			}
		}
		pass.Commit()
		return st.keepState(scope)
	})
}

// inFlight returns the rows of the step before this one, if that is under way. What they sample is
// not known to the host yet.
func (st *step) inFlight() map[*sequence]int32 {
	rows := map[*sequence]int32{}
	if flight := st.model.flight; flight != nil {
		for i, s := range flight.decoding {
			rows[s] = int32(i)
		}
	}
	return rows
}

// newest returns the newest token of every decoding sequence, int32 [n].
func (st *step) newest(scope *mlx.Scope, inFlight map[*sequence]int32) mlx.Array {
	if len(st.decoding) == 0 {
		return mlx.Array{}
	}
	var known, order []int32
	inPlace := len(inFlight) == len(st.decoding)
	for i, s := range st.decoding {
		at, lazy := inFlight[s]
		if !lazy {
			at = int32(len(inFlight) + len(known))
			known = append(known, s.tokens[len(s.tokens)-1])
		}
		order = append(order, at)
		inPlace = inPlace && at == int32(i)
	}
	switch {
	case len(inFlight) == 0:
		return scope.Int32s(known, len(known))
	case inPlace:
		return st.model.flight.sampled.tokens.Array()
	}
	all := st.model.flight.sampled.tokens.Array()
	if len(known) > 0 {
		all = scope.Concatenate(0, all, scope.Int32s(known, len(known)))
	}
	return scope.Take(all, scope.Int32s(order, len(order)), 0)
}

// samplingRows says how each decoding sequence samples, and counts the draw.
func (st *step) samplingRows(inFlight map[*sequence]int32) []sample.Row {
	rows := make([]sample.Row, len(st.decoding))
	for i, s := range st.decoding {
		history := s.tokens
		if _, lazy := inFlight[s]; !lazy {
			history = history[:len(history)-1] // the newest is known and not part of it
		}
		rows[i] = sample.Row{
			Options: sample.Options(s.opts.Sampling), Draw: s.draws, History: history,
			LogProb: s.opts.LogProbs, Top: s.opts.TopLogProbs,
		}
		s.draws++
	}
	return rows
}

// keepState holds the caches of the chunks until they are computed.
func (st *step) keepState(scope *mlx.Scope) error {
	for _, c := range st.chunks {
		for _, a := range c.Sequence.State() {
			kept, err := scope.Keep(a)
			if err != nil {
				return err
			}
			st.state = append(st.state, kept)
		}
	}
	return nil
}

func (st *step) arrays() []mlx.Array {
	out := st.sampled.arrays()
	for _, r := range st.state {
		out = append(out, r.Array())
	}
	return out
}

// cacheClearSteps is how often the allocator's unused buffers are returned.
const cacheClearSteps = 256

// collect waits for the step and notes what it sampled.
func (st *step) collect() error {
	if st.model == nil {
		return nil
	}
	defer st.release()
	if err := mlx.Eval(st.arrays()...); err != nil {
		st.fail()
		return err
	}
	if len(st.decoding) > 0 {
		results, err := st.sampled.read(st.engine.runtime.Stream)
		if err != nil {
			st.fail()
			return err
		}
		for i, s := range st.decoding {
			s.tokens = append(s.tokens, results[i].Token)
			st.results[st.places[i]] = results[i]
		}
	}
	st.engine.steps++
	if st.engine.steps%cacheClearSteps == 0 {
		return st.engine.runtime.ClearCache()
	}
	return nil
}

// release drops the arrays of the step.
func (st *step) release() {
	if st.model.flight == st {
		st.model.flight = nil
	}
	st.sampled.free()
	for _, r := range st.state {
		r.Free()
	}
	st.state = nil
}

// fail marks the sequences of a failed step: what their caches hold is not known.
func (st *step) fail() {
	m := st.model
	for _, s := range append(slices.Clone(st.decoding), slices.Collect(maps.Values(m.rows))...) {
		s.row, s.broken = nil, true
	}
	clear(m.rows)
	m.batch.Free()
	st.release()
}

func stepError(err error) error {
	var op *mlx.OpError
	if errors.As(err, &op) {
		return fault.New(fault.Generation, "the model's step failed in %s: %w", op.Op, err).With("cause", err.Error())
	}
	return err
}
