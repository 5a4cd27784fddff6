package sample

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// goldens are what parity/make_sample_goldens.py writes.
type goldens struct {
	Context    []int32           `json:"context"`
	Processors []goldenProcessor `json:"processors"`
	Filters    []goldenFilter    `json:"filters"`
	Rows       []goldenRow       `json:"rows"`
}

type goldenRow struct {
	DType     string     `json:"dtype"`
	Name      string     `json:"name"`
	Logits    []number   `json:"logits"`
	Processed [][]number `json:"processed"`
	Kept      [][]int    `json:"kept"`
}

type goldenProcessor struct {
	LogitBias         map[int32]float32 `json:"logit_bias"`
	RepetitionPenalty float64           `json:"repetition_penalty"`
	PresencePenalty   float64           `json:"presence_penalty"`
	FrequencyPenalty  float64           `json:"frequency_penalty"`
	Context           int               `json:"context"`
}

func (p goldenProcessor) row(history []int32) Row {
	context := p.Context
	if context == 0 {
		context = 20
	}
	return Row{History: history, Options: Options{
		LogitBias: p.LogitBias, PenaltyTokens: context, RepetitionPenalty: p.RepetitionPenalty,
		PresencePenalty: p.PresencePenalty, FrequencyPenalty: p.FrequencyPenalty,
	}}
}

type goldenFilter struct {
	TopP         float64  `json:"top_p"`
	MinP         float64  `json:"min_p"`
	TopK         int      `json:"top_k"`
	XTCThreshold *float64 `json:"xtc_threshold"`
	XTCExempt    []int32  `json:"xtc_exempt"`
}

func (f goldenFilter) row() Row {
	o := Options{Temperature: 1, TopP: f.TopP, MinP: f.MinP, TopK: f.TopK, XTCExempt: f.XTCExempt}
	if f.XTCThreshold != nil {
		o.XTCProbability, o.XTCThreshold = 1, *f.XTCThreshold
	}
	return Row{Options: o}
}

// number is a float32; null is minus infinity.
type number float32

func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = number(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(data, (*float32)(n))
}

func floats(numbers []number) []float32 {
	out := make([]float32, len(numbers))
	for i, n := range numbers {
		out[i] = float32(n)
	}
	return out
}

func readGoldens(t *testing.T) (g goldens) {
	t.Helper()
	data, err := os.ReadFile("../../parity/sample_goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

var goldenDTypes = map[string]mlx.DType{"float32": mlx.Float32, "bfloat16": mlx.BFloat16}

// All cases of a row of logits are one batch.

func TestProcessorsGiveTheLogitsOfMLXLM(t *testing.T) {
	g := readGoldens(t)
	last := len(g.Context) - 1
	for _, row := range g.Rows {
		var b batch
		for _, p := range g.Processors {
			b.logits = append(b.logits, floats(row.Logits))
			b.newest = append(b.newest, g.Context[last])
			b.rows = append(b.rows, p.row(g.Context[:last]))
		}
		var got []float32
		mlxtest.Run(t, func(stream mlx.Stream) (err error) {
			got, err = mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				return process(s, matrix(s, b.logits, goldenDTypes[row.DType]), s.Int32s(b.newest, len(b.newest)), b.rows)
			})
			return err
		})
		for i, want := range row.Processed {
			logits := got[i*len(want) : (i+1)*len(want)]
			if !slices.Equal(logits, floats(want)) {
				t.Errorf("%s %s, %+v:\ngot  %v\nwant %v", row.DType, row.Name, g.Processors[i], logits, want)
			}
		}
	}
}

func TestFiltersKeepTheTokensOfMLXLM(t *testing.T) {
	g := readGoldens(t)
	for _, row := range g.Rows {
		for i, f := range g.Filters {
			logprobs, filtered := filterGolden(t, row, f.row())
			var kept []int
			for id, v := range filtered {
				if v != -infinity {
					kept = append(kept, id)
				}
			}
			same := slices.Equal(kept, row.Kept[i])
			if f.TopK > 0 {
				same = slices.Equal(values(logprobs, kept), values(logprobs, row.Kept[i]))
			}
			if !same {
				t.Errorf("%s %s, %+v: kept %v, want %v", row.DType, row.Name, f, kept, row.Kept[i])
			}
		}
	}
}

func filterGolden(t *testing.T, golden goldenRow, r Row) (logprobs, filtered []float32) {
	t.Helper()
	build := func(operation func(s *mlx.Scope, logits mlx.Array) mlx.Array) (out []float32) {
		mlxtest.Run(t, func(stream mlx.Stream) (err error) {
			out, err = mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				return operation(s, matrix(s, [][]float32{floats(golden.Logits)}, goldenDTypes[golden.DType]))
			})
			return err
		})
		return out
	}
	filtered = build(func(s *mlx.Scope, logits mlx.Array) mlx.Array {
		return group([]Row{r}, len(golden.Logits))[0].filter(s, normalise(s, logits))
	})
	return build(logProbs), filtered
}

// values returns the values at ids, sorted.
func values(all []float32, ids []int) []string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprint(all[id]))
	}
	slices.Sort(out)
	return out
}
