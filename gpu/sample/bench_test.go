package sample

import (
	"math/rand/v2"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// BenchmarkSample samples 16 rows over the vocabulary of SmolLM2 on the CPU.
func BenchmarkSample(b *testing.B) {
	const rows, vocab = 16, 49152
	random := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, rows*vocab)
	for i := range logits {
		logits[i] = float32(4 * random.NormFloat64())
	}
	history := make([]int32, 100)
	for i := range history {
		history[i] = int32(random.IntN(vocab))
	}
	for _, c := range []struct {
		name string
		row  Row
	}{
		{"greedy", Row{}},
		{"greedy+logprob", Row{LogProb: true}},
		{"greedy+top20", Row{Top: 20}},
		{"penalties", Row{Options: Options{PenaltyTokens: 64, RepetitionPenalty: 1.1, FrequencyPenalty: 0.5}}},
		{"temperature", Row{Options: Options{Temperature: 0.7}}},
		{"min_p", Row{Options: Options{Temperature: 0.7, MinP: 0.05}}},
		{"top_k", Row{Options: Options{Temperature: 0.7, TopK: 40}}},
		{"top_p", Row{Options: Options{Temperature: 0.7, TopP: 0.9}}},
		{"top_p+top_k", Row{Options: Options{Temperature: 0.7, TopP: 0.9, TopK: 40}}},
		{"xtc", Row{Options: Options{Temperature: 0.7, XTCProbability: 1, XTCThreshold: 0.1}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			all := make([]Row, rows)
			for i := range all {
				all[i] = c.row
				all[i].Seed, all[i].History = uint64(i), history
			}
			mlxtest.Run(b, func(stream mlx.Stream) error {
				var scores *mlx.Ref
				err := mlx.Build(stream, func(s *mlx.Scope) (err error) {
					scores, err = s.Keep(s.Float32s(logits, rows, vocab))
					return err
				})
				if err != nil {
					return err
				}
				defer scores.Free()
				for b.Loop() {
					if err := sampleOnce(stream, scores.Array(), all); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// sampleOnce builds and evaluates one step.
func sampleOnce(stream mlx.Stream, logits mlx.Array, rows []Row) error {
	var kept []*mlx.Ref
	defer func() {
		for _, r := range kept {
			r.Free()
		}
	}()
	var wanted []mlx.Array
	err := mlx.Build(stream, func(s *mlx.Scope) error {
		result := Sample(s, logits, s.Int32s(make([]int32, len(rows)), len(rows)), rows)
		for _, a := range []mlx.Array{result.Tokens, result.LogProbs, result.TopIDs, result.TopValues} {
			if a.IsNull() {
				continue
			}
			r, err := s.Keep(a)
			if err != nil {
				return err
			}
			kept, wanted = append(kept, r), append(wanted, r.Array())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return mlx.Eval(wanted...)
}
