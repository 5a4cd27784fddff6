package sample

import (
	"math"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// drawMany draws numbers 0 to n-1 from one row of logits, 500 rows a batch.
func drawMany(t *testing.T, logits []float32, o Options, n int) []int32 {
	t.Helper()
	var tokens []int32
	mlxtest.Run(t, func(stream mlx.Stream) error {
		for len(tokens) < n {
			b := batch{dtype: mlx.Float32}
			for i := range min(500, n-len(tokens)) {
				b.logits = append(b.logits, logits)
				b.rows = append(b.rows, Row{Options: o, Draw: uint64(len(tokens) + i)})
			}
			o, err := sampleBatch(stream, b)
			if err != nil {
				return err
			}
			tokens = append(tokens, o.tokens...)
		}
		return nil
	})
	return tokens
}

func TestSeedDecidesTheDraws(t *testing.T) {
	uniform := make([]float32, 1000)
	first := drawMany(t, uniform, Options{Temperature: 1, Seed: 42}, 32)
	again := drawMany(t, uniform, Options{Temperature: 1, Seed: 42}, 32)
	other := drawMany(t, uniform, Options{Temperature: 1, Seed: 43}, 32)
	if !slices.Equal(first, again) {
		t.Errorf("one seed, two results: %v and %v", first, again)
	}
	if slices.Equal(first, other) {
		t.Errorf("two seeds, one result: %v", first)
	}
	if slices.Sort(first); len(slices.Compact(first)) < 28 {
		t.Errorf("32 draws of 1000 equal tokens gave only %v", first)
	}
}

// The draw is that of MLX's own categorical with the key of the seed and the draw.
func TestDrawsAreThoseOfMLX(t *testing.T) {
	logits := logs(0.05, 0.1, 0.15, 0.2, 0.25, 0.25)
	const seed, temperature, draws = 11, 0.8, 200
	got := drawMany(t, logits, Options{Temperature: temperature, Seed: seed}, draws)
	mlxtest.Run(t, func(stream mlx.Stream) error {
		for i := range draws {
			want, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				logprobs := logProbs(s, matrix(s, [][]float32{logits}, mlx.Float32))
				scaled := s.Multiply(logprobs, s.Scalar(1/temperature, mlx.Float32))
				return s.Categorical(scaled, -1, s.RandomKey(seed, uint64(i)))
			})
			if err != nil {
				return err
			}
			if float32(got[i]) != want[0] {
				t.Errorf("draw %d is %d, want %g", i, got[i], want[0])
			}
		}
		return nil
	})
}

// chiSquare999 is the 99.9 % quantile of the chi-square distribution by degrees of freedom.
var chiSquare999 = map[int]float64{1: 10.83, 2: 13.82, 3: 16.27}

// checkDraws compares how often tokens were drawn with their probabilities, which may be scaled.
func checkDraws(t *testing.T, name string, tokens []int32, weights []float64) {
	t.Helper()
	counts, total, freedom := make([]float64, len(weights)), 0.0, -1
	for _, token := range tokens {
		counts[token]++
	}
	for _, w := range weights {
		total += w
		if w > 0 {
			freedom++
		}
	}
	chi := 0.0
	for i, w := range weights {
		expected := float64(len(tokens)) * w / total
		if w > 0 {
			chi += (counts[i] - expected) * (counts[i] - expected) / expected
		} else if counts[i] > 0 {
			t.Errorf("%s: token %d was drawn %g times, its probability is 0", name, i, counts[i])
		}
	}
	if chi > chiSquare999[freedom] {
		t.Errorf("%s: counts %v, chi-square %.1f", name, counts, chi)
	}
}

func TestDrawsFollowTheDistribution(t *testing.T) {
	probs := []float64{0.4, 0.3, 0.2, 0.1}
	const draws = 4000
	for _, temperature := range []float64{0.5, 1, 2} {
		weights := make([]float64, len(probs))
		for i, p := range probs {
			weights[i] = math.Pow(p, 1/temperature)
		}
		checkDraws(t, "temperature", drawMany(t, logs(probs...), Options{Temperature: temperature, Seed: 7}, draws), weights)
	}
	filtered := Options{Temperature: 1, TopP: 0.85, TopK: 2, Seed: 5}
	checkDraws(t, "top-p and top-k", drawMany(t, logs(probs...), filtered, draws), []float64{0.4, 0.3, 0, 0})
}

// XTC excludes the likeliest token in the share of draws that it should, and what is drawn then
// does not depend on that.
func TestXTCActsWithItsProbability(t *testing.T) {
	probs := []float64{0.4, 0.3, 0.2, 0.1}
	options := Options{Temperature: 1, XTCProbability: 0.25, XTCThreshold: 0.25, Seed: 9}
	const draws = 4000
	tokens := drawMany(t, logs(probs...), options, draws)
	var with, without []int32
	for i, token := range tokens {
		if r := (Row{Options: options, Draw: uint64(i)}); r.excludes() {
			with = append(with, token)
		} else {
			without = append(without, token)
		}
	}
	acts := make([]int32, 0, draws)
	for range with {
		acts = append(acts, 1)
	}
	for range without {
		acts = append(acts, 0)
	}
	checkDraws(t, "acts", acts, []float64{0.75, 0.25})
	checkDraws(t, "with XTC", with, []float64{0, 0.3, 0.2, 0.1})
	checkDraws(t, "without XTC", without, probs)
}

// Greedy rows take nothing but an argmax: what a step costs the host does not grow with them.
func TestGreedyRowsCostTheHostNothing(t *testing.T) {
	allocations := func(n int) (count float64) {
		logits := make([]float32, n*32)
		rows := make([]Row, n)
		mlxtest.Run(t, func(stream mlx.Stream) error {
			return mlx.Build(stream, func(s *mlx.Scope) error {
				a, newest := s.Float32s(logits, n, 32), s.Int32s(make([]int32, n), n)
				count = testing.AllocsPerRun(100, func() { Sample(s, a, newest, rows) })
				return s.Err()
			})
		})
		return count
	}
	if one, many := allocations(1), allocations(64); many > one {
		t.Errorf("%g allocations for 64 rows, %g for one", many, one)
	}
}
