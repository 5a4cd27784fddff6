package gpu

import (
	"cmp"
	"slices"

	"mlx-worker/batcher"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/sample"
)

// sampled are the tokens of a step, with what was asked for beside them.
type sampled struct {
	rows                                []sample.Row
	tokens, logProbs, topIDs, topValues mlx.Ref // as in sample.Result; those not asked for are null
}

// keep samples from logits, [n, vocab], and keeps the result beyond the scope.
func (p *sampled) keep(s *mlx.Scope, logits, newest mlx.Array, rows []sample.Row) error {
	p.rows = rows
	r := sample.Sample(s, logits, newest, rows)
	for ref, a := range map[*mlx.Ref]mlx.Array{&p.tokens: r.Tokens, &p.logProbs: r.LogProbs, &p.topIDs: r.TopIDs, &p.topValues: r.TopValues} {
		if !a.IsNull() {
			ref.Set(s, a)
		}
	}
	return s.Err()
}

func (p *sampled) refs() []*mlx.Ref {
	return []*mlx.Ref{&p.tokens, &p.logProbs, &p.topIDs, &p.topValues}
}

func (p *sampled) arrays() []mlx.Array {
	var out []mlx.Array
	for _, r := range p.refs() {
		if !r.Array().IsNull() {
			out = append(out, r.Array())
		}
	}
	return out
}

func (p *sampled) free() {
	for _, r := range p.refs() {
		r.Free()
	}
}

// read waits for the tokens and returns them by row.
func (p *sampled) read(stream mlx.Stream) ([]batcher.StepResult, error) {
	results := make([]batcher.StepResult, len(p.rows))
	ids, err := mlx.ReadInt32s(stream, p.tokens.Array())
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		results[i].Token = id
	}
	if err := p.readLogProbs(stream, results); err != nil {
		return nil, err
	}
	return results, p.readTop(stream, results)
}

func (p *sampled) readLogProbs(stream mlx.Stream, results []batcher.StepResult) error {
	if p.logProbs.Array().IsNull() {
		return nil
	}
	values, err := mlx.ReadFloat32s(stream, p.logProbs.Array())
	if err != nil {
		return err
	}
	for i := range p.rows {
		if p.rows[i].LogProb {
			results[i].LogProb, values = values[0], values[1:]
		}
	}
	return nil
}

func (p *sampled) readTop(stream mlx.Stream, results []batcher.StepResult) error {
	if p.topIDs.Array().IsNull() {
		return nil
	}
	widest := p.topIDs.Array().Dim(-1)
	ids, err := mlx.ReadInt32s(stream, p.topIDs.Array())
	if err != nil {
		return err
	}
	values, err := mlx.ReadFloat32s(stream, p.topValues.Array())
	if err != nil {
		return err
	}
	for i, row := range p.rows {
		if row.Top == 0 {
			continue
		}
		top := make([]batcher.TokenLogProb, widest)
		for k := range top {
			top[k] = batcher.TokenLogProb{Token: ids[k], LogProb: values[k]}
		}
		ids, values = ids[widest:], values[widest:]
		slices.SortFunc(top, func(a, b batcher.TokenLogProb) int {
			return cmp.Or(cmp.Compare(b.LogProb, a.LogProb), cmp.Compare(a.Token, b.Token))
		})
		results[i].TopLogProbs = top[:min(row.Top, widest)]
	}
	return nil
}
