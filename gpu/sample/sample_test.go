package sample

import (
	"fmt"
	"math"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

func logs(probs ...float64) []float32 {
	out := make([]float32, len(probs))
	for i, p := range probs {
		out[i] = float32(math.Log(p))
	}
	return out
}

// kept runs a filter over one row and reports which tokens survive.
func kept(t *testing.T, probs []float64, filter func(*mlx.Scope, mlx.Array) mlx.Array) string {
	t.Helper()
	var out []float32
	mlxtest.Run(t, func(stream mlx.Stream) (err error) {
		out, err = mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
			return filter(s, s.Float32s(logs(probs...), 1, len(probs)))
		})
		return err
	})
	survivors := ""
	for i, v := range out {
		switch {
		case math.IsInf(float64(v), -1):
		case math.Abs(float64(v)-math.Log(probs[i])) > 1e-6:
			t.Errorf("token %d was changed from %g to %g", i, math.Log(probs[i]), v)
		default:
			survivors += fmt.Sprint(i)
		}
	}
	return survivors
}

// The expectations are those of mlx-lm's test_sample_utils, and its definitions at ties.
func TestFilters(t *testing.T) {
	topPOf := func(p float64) func(*mlx.Scope, mlx.Array) mlx.Array {
		return func(s *mlx.Scope, a mlx.Array) mlx.Array { return topP(s, a, p) }
	}
	minPOf := func(p float64) func(*mlx.Scope, mlx.Array) mlx.Array {
		return func(s *mlx.Scope, a mlx.Array) mlx.Array { return minP(s, a, p) }
	}
	topKOf := func(k int) func(*mlx.Scope, mlx.Array) mlx.Array {
		return func(s *mlx.Scope, a mlx.Array) mlx.Array { return topK(s, a, k) }
	}
	for _, test := range []struct {
		name   string
		probs  []float64
		filter func(*mlx.Scope, mlx.Array) mlx.Array
		want   string
	}{
		{"top_p keeps the likeliest", []float64{0.9, 0.05, 0.05}, topPOf(0.3), "0"},
		{"top_p below the first probability", []float64{0.5, 0.3, 0.2}, topPOf(0.4), "0"},
		{"top_p reaches into the second", []float64{0.5, 0.3, 0.2}, topPOf(0.6), "01"},
		{"top_p reaches the last", []float64{0.5, 0.3, 0.2}, topPOf(0.95), "012"},
		{"top_p keeps ties of the last kept", []float64{0.4, 0.2, 0.2, 0.2}, topPOf(0.5), "0123"},
		{"top_p in any order", []float64{0.2, 0.5, 0.3}, topPOf(0.6), "12"},
		{"top_p does not need normalised input", []float64{0.25, 0.15, 0.1}, topPOf(0.6), "01"},
		{"min_p relative to the likeliest", []float64{0.9, 0.05, 0.03, 0.02}, minPOf(0.05), "01"},
		{"min_p strictly below is dropped", []float64{0.8, 0.2}, minPOf(0.24), "01"},
		{"min_p 1 keeps the maximum", []float64{0.3, 0.4, 0.3}, minPOf(1), "1"},
		{"top_k 1", []float64{0.2, 0.5, 0.3}, topKOf(1), "1"},
		{"top_k 2", []float64{0.2, 0.5, 0.3}, topKOf(2), "12"},
	} {
		if got := kept(t, test.probs, test.filter); got != test.want {
			t.Errorf("%s: kept %s, want %s", test.name, got, test.want)
		}
	}
}

func draw(t *testing.T, probs []float64, o Options, draws int) []int32 {
	t.Helper()
	out := make([]int32, draws)
	mlxtest.Run(t, func(stream mlx.Stream) error {
		for i := range out {
			var token *mlx.Ref
			err := mlx.Build(stream, func(s *mlx.Scope) (err error) {
				token, err = s.Keep(Token(s, s.Float32s(logs(probs...), 1, len(probs)), o, uint64(i)))
				return err
			})
			if err != nil {
				return err
			}
			if out[i], err = mlx.ItemInt32(token.Array()); err != nil {
				return err
			}
			token.Free()
		}
		return nil
	})
	return out
}

func TestGreedyIgnoresTheOtherOptions(t *testing.T) {
	got := draw(t, []float64{0.1, 0.45, 0.45}, Options{TopK: 1, TopP: 0.1, MinP: 0.9, Seed: 3}, 3)
	for _, token := range got {
		if token != 1 {
			t.Fatalf("drew %v, want the lowest id of the maxima each time", got)
		}
	}
}

func TestSeedDecidesTheDraws(t *testing.T) {
	uniform := []float64{0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125}
	first := draw(t, uniform, Options{Temperature: 1, TopP: 1, Seed: 42}, 32)
	again := draw(t, uniform, Options{Temperature: 1, TopP: 1, Seed: 42}, 32)
	other := draw(t, uniform, Options{Temperature: 1, TopP: 1, Seed: 43}, 32)
	if fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("one seed, two results: %v and %v", first, again)
	}
	if fmt.Sprint(first) == fmt.Sprint(other) {
		t.Errorf("two seeds, one result: %v", first)
	}
}

// chiSquare999 is the 99.9 % quantile of the chi-square distribution with 3 degrees of freedom.
const chiSquare999 = 16.27

func TestDrawsFollowTheDistribution(t *testing.T) {
	probs := []float64{0.4, 0.3, 0.2, 0.1}
	const draws = 4000
	for _, temperature := range []float64{0.5, 1, 2} {
		want, total := make([]float64, len(probs)), 0.0
		for i, p := range probs {
			want[i] = math.Pow(p, 1/temperature)
			total += want[i]
		}
		counts := make([]float64, len(probs))
		for _, token := range draw(t, probs, Options{Temperature: temperature, TopP: 1, Seed: 7}, draws) {
			counts[token]++
		}
		chi := 0.0
		for i := range probs {
			expected := draws * want[i] / total
			chi += (counts[i] - expected) * (counts[i] - expected) / expected
		}
		if chi > chiSquare999 {
			t.Errorf("temperature %g: counts %v, chi-square %.1f", temperature, counts, chi)
		}
	}
}

func TestTop(t *testing.T) {
	mlxtest.Run(t, func(stream mlx.Stream) error {
		var ids, values *mlx.Ref
		err := mlx.Build(stream, func(s *mlx.Scope) (err error) {
			top, logprobs := Top(s, s.Float32s(logs(0.1, 0.6, 0.3), 1, 3), 2)
			if ids, err = s.Keep(top); err != nil {
				return err
			}
			values, err = s.Keep(logprobs)
			return err
		})
		if err != nil {
			return err
		}
		defer ids.Free()
		defer values.Free()
		got, err := mlx.ReadInt32s(stream, ids.Array())
		if err != nil {
			return err
		}
		scores, err := mlx.ReadFloat32s(stream, values.Array())
		if err != nil {
			return err
		}
		byID := map[int32]float64{got[0]: math.Exp(float64(scores[0])), got[1]: math.Exp(float64(scores[1]))}
		if len(got) != 2 || math.Abs(byID[1]-0.6) > 1e-6 || math.Abs(byID[2]-0.3) > 1e-6 {
			return fmt.Errorf("top 2 are %v with %v", got, scores)
		}
		return nil
	})
}
