package batcher

import (
	"cmp"
	"slices"
	"time"
)

// flight is a step from its plan until it was waited for.
type flight struct {
	model   *model
	rows    []Row
	riders  []rider // of the rows
	decodes int     // rows that decode
	prompt  int     // prompt tokens of the others

	step       Step
	err        error // of Dispatch
	dispatched time.Time
}

// rider is the request that a row is for, and its attempt.
type rider struct {
	stream  *Stream
	attempt int
}

func (f *flight) add(s *Stream, promptTokens int) {
	f.rows = append(f.rows, Row{Sequence: s.sequence, PromptTokens: promptTokens})
	f.riders = append(f.riders, rider{s, s.attempt})
	f.prompt += promptTokens
	if promptTokens == 0 {
		f.decodes++
	}
}

// plan makes a step of the model whose turn it is; nil if no row can advance.
func (b *Batcher) plan() *flight {
	var models []*model
	for _, s := range b.active {
		if !slices.Contains(models, s.model) {
			models = append(models, s.model)
		}
	}
	// The one whose last step is longest ago goes first.
	slices.SortStableFunc(models, func(x, y *model) int { return cmp.Compare(x.turn, y.turn) })
	for _, m := range models {
		if f := b.planStep(m); len(f.rows) > 0 {
			b.turns++
			m.turn = b.turns
			return f
		}
	}
	return nil
}

// planStep gives a row to each of m's sequences that can decode, and shares the budget of
// prompt tokens among the others: urgent ones first, then in order of admission.
func (b *Batcher) planStep(m *model) *flight {
	f := &flight{model: m}
	prefills := 0
	for _, s := range b.active {
		switch {
		case s.model != m:
		case s.leftToPrefill() > 0:
			prefills++
		case s.mayDecode():
			f.add(s, 0)
		}
	}
	if prefills == 0 {
		return f
	}
	budget := m.costs.budget(f.decodes, b.cfg.PrefillStepTokens, b.cfg.LatencyTarget, b.govern.prefillFactor())
	for rank := range classCount {
		for _, s := range b.active {
			if s.model != m || s.rank != rank || s.leftToPrefill() == 0 {
				continue
			}
			if n := chunk(s.leftToPrefill(), budget, f.prompt > 0); n > 0 {
				f.add(s, n)
				budget -= n
			}
		}
	}
	return f
}

// chunk is how many of the tokens left are computed with what is left of a step's budget. What
// does not reach the end is a multiple of chunkMultiple, unless even the whole budget, which is
// not shared then, is smaller.
func chunk(left, budget int, shared bool) int {
	switch {
	case left <= budget:
		return left
	case budget < chunkMultiple && !shared:
		return budget
	}
	return budget - budget%chunkMultiple
}
