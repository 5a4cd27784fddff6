package sample

import (
	"fmt"
	"math"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// survivors applies one row's filters and reports the tokens that are left.
func survivors(t *testing.T, probs []float64, options Options) string {
	t.Helper()
	var out []float32
	mlxtest.Run(t, func(stream mlx.Stream) (err error) {
		out, err = mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
			g := group([]Row{{Options: options}}, len(probs))[0]
			return g.filter(s, matrix(s, [][]float32{logs(probs...)}, mlx.Float32))
		})
		return err
	})
	left := ""
	for i, v := range out {
		switch {
		case math.IsInf(float64(v), -1):
		case math.Abs(float64(v)-math.Log(probs[i])) > 1e-6:
			t.Errorf("token %d was changed from %g to %g", i, math.Log(probs[i]), v)
		default:
			left += fmt.Sprint(i)
		}
	}
	return left
}

// The expectations are those of mlx-lm's test_sample_utils, and its definitions at ties.
func TestFilters(t *testing.T) {
	topP := func(p float64) Options { return Options{TopP: p} }
	minP := func(p float64) Options { return Options{MinP: p} }
	topK := func(k int) Options { return Options{TopK: k} }
	xtc := func(threshold float64, exempt ...int32) Options {
		return Options{XTCProbability: 1, XTCThreshold: threshold, XTCExempt: exempt}
	}
	for _, test := range []struct {
		name    string
		probs   []float64
		options Options
		want    string
	}{
		{"top_p keeps the likeliest", []float64{0.9, 0, 0, 0.1}, topP(0.3), "0"},
		{"top_p reaches the last that is possible", []float64{0.9, 0, 0, 0.1}, topP(0.95), "03"},
		{"top_p below the first probability", []float64{0, 0.5, 0.4, 0.1}, topP(0.4), "1"},
		{"top_p reaches into the second", []float64{0, 0.5, 0.4, 0.1}, topP(0.6), "12"},
		{"top_p reaches the last", []float64{0, 0.5, 0.4, 0.1}, topP(0.95), "123"},
		{"top_p keeps ties of the last kept", []float64{0.4, 0.2, 0.2, 0.2}, topP(0.5), "0123"},
		{"top_p in any order", []float64{0.2, 0.5, 0.3}, topP(0.6), "12"},
		{"top_p does not need normalised input", []float64{0.25, 0.15, 0.1}, topP(0.6), "01"},
		{"min_p relative to the likeliest", []float64{0.9, 0, 0, 0.1}, minP(0.8), "0"},
		{"min_p keeps what is above", []float64{0.9, 0, 0, 0.1}, minP(0.05), "03"},
		{"min_p strictly below is dropped", []float64{0.8, 0.2}, minP(0.24), "01"},
		{"min_p 1 keeps the maximum", []float64{0.3, 0.4, 0.3}, minP(1), "1"},
		{"top_k 1", []float64{0.9, 0, 0, 0.1}, topK(1), "0"},
		{"top_k 2", []float64{0.6, 0, 0.1, 0.3}, topK(2), "03"},
		{"top_k keeps exactly k of ties", []float64{0.2, 0.2, 0.2, 0.2, 0.2}, topK(3), "012"},
		{"top_k ties below a likelier token", []float64{0.1, 0.1, 0.6, 0.1, 0.1}, topK(3), "012"},
		{"top_k of more than is possible", []float64{0.5, 0, 0, 0.5}, topK(3), "03"},
		{"top_k of the vocabulary", []float64{0.1, 0.2, 0.7}, topK(3), "012"},
		{"top_k above the vocabulary", []float64{0.1, 0.2, 0.7}, topK(1000), "012"},
		{"xtc leaves the least of the top choices", []float64{0.4, 0.3, 0.15, 0.15}, xtc(0.2), "123"},
		{"xtc keeps ties of that one", []float64{0.4, 0.3, 0.15, 0.15}, xtc(0.1), "23"},
		{"xtc never excludes exempt ids", []float64{0.4, 0.3, 0.15, 0.15}, xtc(0.1, 0), "023"},
		{"xtc with one top choice", []float64{0.7, 0.1, 0.1, 0.1}, xtc(0.5), "0123"},
		{"xtc with none", []float64{0.4, 0.3, 0.3}, xtc(0.45), "012"},
		{"xtc below every probability", []float64{0.5, 0.3, 0.2}, xtc(0), "2"},
		{"xtc of probability 0", []float64{0.5, 0.3, 0.2}, Options{XTCThreshold: 0.1}, "012"},
		{"xtc counts what top_p left", []float64{0.44, 0.4, 0.16}, Options{TopP: 0.8, XTCProbability: 1, XTCThreshold: 0.46}, "1"},
		{"top_k counts what xtc left", []float64{0.5, 0.3, 0.1, 0.06, 0.04}, Options{TopP: 0.999, XTCProbability: 1, XTCThreshold: 0.2, TopK: 2}, "12"},
		{"top_k after top_p", []float64{0.1, 0.4, 0.3, 0.2}, Options{TopP: 0.85, TopK: 2}, "12"},
		{"top_p stricter than top_k", []float64{0.1, 0.4, 0.3, 0.2}, Options{TopP: 0.5, TopK: 3}, "12"},
	} {
		test.options.Temperature = 1
		if got := survivors(t, test.probs, test.options); got != test.want {
			t.Errorf("%s: %s are left, want %s", test.name, got, test.want)
		}
	}
}

func TestXTCExemptsTheIDsOfEachRow(t *testing.T) {
	var out []float32
	options := Options{Temperature: 1, XTCProbability: 1, XTCThreshold: 0.1}
	rows := []Row{{Options: options}, {Options: options}, {Options: options}}
	rows[0].XTCExempt, rows[2].XTCExempt = []int32{0}, []int32{1, 2}
	mlxtest.Run(t, func(stream mlx.Stream) (err error) {
		out, err = mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
			probs := logs(0.5, 0.3, 0.2)
			return group(rows, len(probs))[0].filter(s, matrix(s, [][]float32{probs, probs, probs}, mlx.Float32))
		})
		return err
	})
	left := ""
	for i, v := range out {
		if v != -infinity {
			left += fmt.Sprint(i)
		}
	}
	if want := "02" + "5" + "78"; left != want { // places in the flat array of 3 tokens a row
		t.Errorf("%s are left, want %s", left, want)
	}
}
