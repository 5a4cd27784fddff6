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
// prompt tokens among the others: urgent ones first, then in order of admission. Every second
// step prefers the shortest of a class, so that a short prompt does not wait for all of a long
// one, which keeps half of the budget.
func (b *Batcher) planStep(m *model) *flight {
	f := &flight{model: m, rows: make([]Row, 0, len(b.active)), riders: make([]rider, 0, len(b.active))}
	var prefills []*Stream
	others := 0
	for _, s := range b.active {
		switch {
		case s.model != m:
			if s.leftToPrefill() == 0 {
				others = 1
			}
		case s.leftToPrefill() > 0:
			prefills = append(prefills, s)
		case s.mayDecode():
			f.add(s, 0)
		}
	}
	if len(prefills) == 0 {
		return f
	}
	if f.decodes > 0 && !m.costs.timed(f.decodes) && promptTokens(prefills) > leastChunk {
		// Under load every step would have prompts, and what decodes take would stay a guess.
		return f
	}
	// Decodes of other models wait for this step, too.
	budget := m.costs.budget(max(f.decodes, others), b.cfg.PrefillStepTokens, b.cfg.LatencyTarget, b.govern.prefillFactor())
	m.shortFirst = !m.shortFirst
	slices.SortStableFunc(prefills, func(x, y *Stream) int {
		if c := cmp.Compare(x.rank, y.rank); c != 0 || !m.shortFirst {
			return c
		}
		return cmp.Compare(x.leftToPrefill(), y.leftToPrefill())
	})
	for _, s := range prefills {
		if n := chunk(s.leftToPrefill(), budget, f.prompt > 0); n > 0 {
			f.add(s, n)
			budget -= n
		}
	}
	return f
}

// promptTokens is how many prompt tokens the streams have to compute.
func promptTokens(streams []*Stream) (n int) {
	for _, s := range streams {
		n += s.leftToPrefill()
	}
	return n
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
