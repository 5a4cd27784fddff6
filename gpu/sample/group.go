package sample

import (
	"math"
	"math/rand/v2"

	"mlx-worker/gpu/mlx"
)

// steps are the filters that a draw takes.
type steps struct{ topP, minP, xtc, topK bool }

func stepsOf(r *Row, vocab int) steps {
	return steps{
		topP: r.TopP > 0 && r.TopP < 1,
		minP: r.MinP > 0,
		xtc:  r.excludes(),
		topK: r.TopK > 0 && r.TopK < vocab,
	}
}

// excludes draws whether XTC acts. Its generator shares nothing with the key of the categorical
// draw.
func (r *Row) excludes() bool {
	if r.XTCProbability <= 0 {
		return false
	}
	draw := rand.NewPCG(r.Seed, r.Draw).Uint64() >> 11
	return float64(draw)*0x1p-53 < r.XTCProbability
}

// rowGroup holds sampled rows that take the same steps.
type rowGroup struct {
	steps
	rows    []*Row
	numbers []int32 // in the batch
}

// group sorts the sampled rows by their steps, the groups by their first row.
func group(rows []Row, vocab int) []*rowGroup {
	var groups []*rowGroup
	for i := range rows {
		if r := &rows[i]; r.sampled() {
			g := find(&groups, stepsOf(r, vocab))
			g.rows = append(g.rows, r)
			g.numbers = append(g.numbers, int32(i))
		}
	}
	return groups
}

func find(groups *[]*rowGroup, steps steps) *rowGroup {
	for _, g := range *groups {
		if g.steps == steps {
			return g
		}
	}
	g := &rowGroup{steps: steps}
	*groups = append(*groups, g)
	return g
}

// draw returns a token of each row, int32 [rows].
func (g *rowGroup) draw(s *mlx.Scope, logits mlx.Array) mlx.Array {
	chosen := take(s, logits, g.numbers)
	if g.steps != (steps{}) {
		chosen = g.filter(s, normalise(s, chosen))
	}
	return categorical(s, chosen, g.rows)
}

// normalise returns what filters compare: log-probabilities, or in float32 their distances from
// the row's greatest. These differ by a constant that no filter sees, and cost far less on the
// CPU; in half precision they would round to other ties than mlx-lm's.
func normalise(s *mlx.Scope, logits mlx.Array) mlx.Array {
	if s.Err() != nil || logits.DType() != mlx.Float32 {
		return logProbs(s, logits)
	}
	return s.Subtract(logits, s.Max(logits, -1, true))
}

// filter gives the tokens that are not to be drawn -Inf in logprobs, [rows, vocab].
func (g *rowGroup) filter(s *mlx.Scope, logprobs mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	dtype := logprobs.DType()
	var best mlx.Array // what topK needs; with XTC in between that is not known yet
	if g.topK && !g.xtc {
		best = largest(s, logprobs, most(g.counts()))
	}
	if g.topP {
		logprobs = topP(s, logprobs, best, g.column(s, mlx.Float32, func(r *Row) float64 { return r.TopP }))
	}
	if g.minP {
		logprobs = minP(s, logprobs, g.column(s, dtype, func(r *Row) float64 { return math.Log(r.MinP) }))
	}
	if g.xtc {
		threshold := g.column(s, dtype, func(r *Row) float64 { return r.XTCThreshold })
		logprobs = xtc(s, logprobs, threshold, g.rows)
	}
	if g.topK {
		if g.xtc {
			best = largest(s, logprobs, most(g.counts()))
		}
		logprobs = topK(s, logprobs, best, g.counts())
	}
	return logprobs
}

// counts returns each row's TopK.
func (g *rowGroup) counts() []int32 {
	counts := make([]int32, len(g.rows))
	for i, r := range g.rows {
		counts[i] = int32(r.TopK)
	}
	return counts
}

func (g *rowGroup) column(s *mlx.Scope, dtype mlx.DType, parameter func(*Row) float64) mlx.Array {
	return column(s, g.rows, dtype, parameter)
}

// column returns a parameter of each row, [rows, 1].
func column(s *mlx.Scope, rows []*Row, dtype mlx.DType, parameter func(*Row) float64) mlx.Array {
	values := make([]float32, len(rows))
	for i, r := range rows {
		values[i] = float32(parameter(r))
	}
	return s.AsType(s.Float32s(values, len(values), 1), dtype)
}
