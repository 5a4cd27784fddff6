package sample

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

const propertyVocab = 40

var ids = rapid.Int32Range(0, propertyVocab-1)

// sometimes draws from g, or the zero value.
func sometimes[T any](t *rapid.T, name string, g *rapid.Generator[T]) (v T) {
	if rapid.Bool().Draw(t, "with "+name) {
		v = g.Draw(t, name)
	}
	return v
}

var optionMixes = rapid.Custom(func(t *rapid.T) Row {
	return Row{
		Options: Options{
			Temperature:       sometimes(t, "temperature", rapid.Float64Range(0.05, 2)),
			TopP:              sometimes(t, "top_p", rapid.Float64Range(0.01, 1)),
			TopK:              sometimes(t, "top_k", rapid.IntRange(1, propertyVocab+1)),
			MinP:              sometimes(t, "min_p", rapid.Float64Range(0.001, 1)),
			Seed:              rapid.Uint64().Draw(t, "seed"),
			XTCProbability:    sometimes(t, "xtc_probability", rapid.Float64Range(0, 1)),
			XTCThreshold:      rapid.Float64Range(0, 0.5).Draw(t, "xtc_threshold"),
			XTCExempt:         sometimes(t, "xtc_exempt", rapid.SliceOfN(ids, 0, 3)),
			LogitBias:         sometimes(t, "logit_bias", rapid.MapOfN(ids, rapid.Float32Range(-100, 100), 0, 5)),
			PenaltyTokens:     rapid.IntRange(0, 12).Draw(t, "context"),
			RepetitionPenalty: sometimes(t, "repetition", rapid.Float64Range(0.1, 3)),
			PresencePenalty:   sometimes(t, "presence", rapid.Float64Range(-2, 2)),
			FrequencyPenalty:  sometimes(t, "frequency", rapid.Float64Range(-2, 2)),
		},
		Draw:    rapid.Uint64Max(1000).Draw(t, "draw"),
		History: rapid.SliceOfN(ids, 0, 20).Draw(t, "history"),
		LogProb: rapid.Bool().Draw(t, "logprob"),
		Top:     sometimes(t, "top", rapid.IntRange(1, 20)),
	}
})

// propertyLogits have ties and impossible tokens, as half precision and masks make them.
var propertyLogits = rapid.Custom(func(t *rapid.T) []float32 {
	grain := rapid.SampledFrom([]float32{0, 0.25, 1}).Draw(t, "grain")
	logits := rapid.SliceOfN(rapid.Float32Range(-12, 12), propertyVocab, propertyVocab).Draw(t, "logits")
	for i := range logits {
		if grain > 0 {
			logits[i] = grain * float32(math.Round(float64(logits[i]/grain)))
		}
	}
	for _, id := range sometimes(t, "masked", rapid.SliceOfN(rapid.Int32Range(1, propertyVocab-1), 1, 20)) {
		logits[id] = -infinity
	}
	return logits
})

// What a row gets is the same alone and in a batch, bit for bit.
func TestRowsAreIndependent(t *testing.T) {
	dtypes := rapid.SampledFrom([]mlx.DType{mlx.Float32, mlx.BFloat16, mlx.Float16})
	rapid.Check(t, func(rt *rapid.T) {
		b := batch{dtype: dtypes.Draw(rt, "dtype"), rows: rapid.SliceOfN(optionMixes, 2, 8).Draw(rt, "rows")}
		n := len(b.rows)
		b.logits = rapid.SliceOfN(propertyLogits, n, n).Draw(rt, "logits")
		b.newest = rapid.SliceOfN(ids, n, n).Draw(rt, "newest")
		together, alone, err := compare(t, b)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(together, alone) {
			rt.Fatalf("in a batch %+v, alone %+v", together, alone)
		}
		for _, logprob := range together.logprobs {
			if math.IsNaN(float64(logprob)) {
				rt.Fatalf("logprobs %v", together.logprobs)
			}
		}
		for i, token := range together.tokens {
			if b.logits[i][token] == -infinity {
				rt.Fatalf("token %d of row %d is impossible", token, i)
			}
		}
	})
}

// compare samples a batch, and its rows one by one.
func compare(t *testing.T, b batch) (together, alone outcome, err error) {
	mlxtest.Run(t, func(stream mlx.Stream) error {
		if together, err = sampleBatch(stream, b); err != nil {
			return nil // returned by compare
		}
		for i := range b.rows {
			var one outcome
			one, err = sampleBatch(stream, batch{b.dtype, b.logits[i : i+1], b.newest[i : i+1], b.rows[i : i+1]})
			if err != nil {
				return nil
			}
			alone.tokens = append(alone.tokens, one.tokens...)
			alone.logprobs = append(alone.logprobs, one.logprobs...)
			alone.top = append(alone.top, one.top...)
		}
		return nil
	})
	return together, alone, err
}
