package gpu

import (
	"slices"

	"mlx-worker/batcher"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/sample"
)

// sampled is a token under way on the device, with what was asked for beside it.
type sampled struct {
	token     *mlx.Ref // int32 [1]
	logprob   *mlx.Ref // [1, 1], or nil
	topIDs    *mlx.Ref // int32 [1, k], or nil
	topValues *mlx.Ref // [1, k], or nil

	ahead *sampled // built from token and dispatched before token was read, or nil
}

// keep samples from scores, [1, vocab], and keeps what opts ask for.
func (p *sampled) keep(s *mlx.Scope, scores mlx.Array, opts batcher.SequenceOptions, draw uint64) (err error) {
	o := opts.Sampling
	token := sample.Token(s, scores, sample.Options{
		Temperature: o.Temperature, TopP: o.TopP, TopK: o.TopK, MinP: o.MinP, Seed: o.Seed,
	}, draw)
	if p.token, err = s.Keep(token); err != nil {
		return err
	}
	if opts.LogProbs || opts.TopLogProbs > 0 {
		if p.logprob, err = s.Keep(s.TakeAlongAxis(scores, s.Reshape(token, 1, 1), -1)); err != nil {
			return err
		}
	}
	if opts.TopLogProbs == 0 {
		return nil
	}
	ids, values := sample.Top(s, scores, opts.TopLogProbs)
	if p.topIDs, err = s.Keep(ids); err != nil {
		return err
	}
	p.topValues, err = s.Keep(values)
	return err
}

func (p *sampled) refs() []*mlx.Ref { return []*mlx.Ref{p.token, p.logprob, p.topIDs, p.topValues} }

func (p *sampled) arrays() []mlx.Array {
	var out []mlx.Array
	for _, r := range p.refs() {
		if r != nil {
			out = append(out, r.Array())
		}
	}
	return out
}

// free releases the arrays of p and of what was dispatched ahead; p may be nil.
func (p *sampled) free() {
	if p == nil {
		return
	}
	p.ahead.free()
	for _, r := range p.refs() {
		r.Free()
	}
}

// read waits for the token.
func (p *sampled) read(stream mlx.Stream) (batcher.StepResult, error) {
	var result batcher.StepResult
	var err error
	if result.Token, err = mlx.ItemInt32(p.token.Array()); err != nil || p.logprob == nil {
		return result, err
	}
	logprob, err := mlx.ReadFloat32s(stream, p.logprob.Array())
	if err != nil {
		return result, err
	}
	result.LogProb = logprob[0]
	if p.topIDs == nil {
		return result, nil
	}
	ids, err := mlx.ReadInt32s(stream, p.topIDs.Array())
	if err != nil {
		return result, err
	}
	values, err := mlx.ReadFloat32s(stream, p.topValues.Array())
	if err != nil {
		return result, err
	}
	for i, id := range ids {
		result.TopLogProbs = append(result.TopLogProbs, batcher.TokenLogProb{Token: id, LogProb: values[i]})
	}
	slices.SortFunc(result.TopLogProbs, func(a, b batcher.TokenLogProb) int {
		switch {
		case a.LogProb > b.LogProb:
			return -1
		case a.LogProb < b.LogProb:
			return 1
		default:
			return int(a.Token - b.Token)
		}
	})
	return result, nil
}
