package sample

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// batch is what Sample is called with.
type batch struct {
	dtype  mlx.DType
	logits [][]float32
	newest []int32
	rows   []Row
}

// outcome is what Sample returned for a batch, read back; top is sorted as the engine does.
type outcome struct {
	tokens   []int32
	logprobs []float32
	top      [][]candidate
}

type candidate struct {
	id      int32
	logprob float32
}

// sampleBatch runs Sample on the MLX thread.
func sampleBatch(stream mlx.Stream, b batch) (o outcome, err error) {
	var kept [4]*mlx.Ref
	defer func() {
		for _, r := range kept {
			r.Free()
		}
	}()
	k := 0
	err = mlx.Build(stream, func(s *mlx.Scope) (err error) {
		newest := b.newest
		if newest == nil {
			newest = make([]int32, len(b.rows))
		}
		result := Sample(s, matrix(s, b.logits, b.dtype), s.Int32s(newest, len(newest)), b.rows)
		if err := s.Err(); err != nil {
			return err
		}
		if !result.TopIDs.IsNull() {
			k = result.TopIDs.Dim(-1)
		}
		for i, a := range []mlx.Array{result.Tokens, result.LogProbs, result.TopIDs, result.TopValues} {
			if a.IsNull() {
				continue
			}
			if kept[i], err = s.Keep(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return o, err
	}
	if o.tokens, err = mlx.ReadInt32s(stream, kept[0].Array()); err != nil {
		return o, err
	}
	if kept[1] != nil {
		if o.logprobs, err = mlx.ReadFloat32s(stream, kept[1].Array()); err != nil {
			return o, err
		}
	}
	if kept[2] != nil {
		o.top, err = readTop(stream, b.rows, kept[2].Array(), kept[3].Array(), k)
	}
	return o, err
}

func readTop(stream mlx.Stream, rows []Row, ids, values mlx.Array, k int) (top [][]candidate, err error) {
	allIDs, err := mlx.ReadInt32s(stream, ids)
	if err != nil {
		return nil, err
	}
	allValues, err := mlx.ReadFloat32s(stream, values)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Top == 0 {
			continue
		}
		var row []candidate
		for i := range k {
			row = append(row, candidate{allIDs[i], allValues[i]})
		}
		allIDs, allValues = allIDs[k:], allValues[k:]
		slices.SortFunc(row, func(a, b candidate) int {
			switch {
			case a.logprob > b.logprob:
				return -1
			case a.logprob < b.logprob:
				return 1
			}
			return int(a.id - b.id)
		})
		top = append(top, row[:min(r.Top, k)])
	}
	if len(allIDs) > 0 {
		return nil, fmt.Errorf("%d alternatives more than rows ask for", len(allIDs))
	}
	return top, nil
}

func matrix(s *mlx.Scope, rows [][]float32, dtype mlx.DType) mlx.Array {
	return s.AsType(s.Float32s(slices.Concat(rows...), len(rows), len(rows[0])), dtype)
}

// sampleOne runs Sample once, on a runtime of its own.
func sampleOne(t *testing.T, b batch) (o outcome) {
	t.Helper()
	mlxtest.Run(t, func(stream mlx.Stream) (err error) {
		o, err = sampleBatch(stream, b)
		return err
	})
	return o
}

// logs returns the logarithms of probabilities.
func logs(probs ...float64) []float32 {
	out := make([]float32, len(probs))
	for i, p := range probs {
		out[i] = float32(math.Log(p))
	}
	return out
}

var (
	infinity = float32(math.Inf(1))
	lowest   = float32(-math.MaxFloat32)
)

func TestGreedyTakesTheLowestIDOfTheMaxima(t *testing.T) {
	o := sampleOne(t, batch{
		dtype: mlx.Float32,
		logits: [][]float32{
			{0, 3, 3, 1}, {-infinity, -infinity, lowest, lowest}, {5, -infinity, 5, 5}, {-2, -2, -1, -3},
		},
		// The filters do not act without a temperature.
		rows: []Row{{}, {Options: Options{TopK: 1, TopP: 0.1, Seed: 3}}, {Options: Options{MinP: 0.9}}, {Options: Options{XTCProbability: 1}}},
	})
	if want := []int32{1, 2, 0, 2}; !slices.Equal(o.tokens, want) {
		t.Errorf("tokens %v, want %v", o.tokens, want)
	}
	if o.logprobs != nil || o.top != nil {
		t.Errorf("nobody asked for logprobs %v and top %v", o.logprobs, o.top)
	}
}

func TestPenaltiesAndBiasMoveTheGreedyToken(t *testing.T) {
	logits := []float32{4, 3, -1, 2}
	rows := []Row{
		{Options: Options{LogitBias: map[int32]float32{3: 2.5}}},
		{Options: Options{PenaltyTokens: 20, RepetitionPenalty: 2}},                            // 2, 3, -1, 2
		{Options: Options{PenaltyTokens: 2, PresencePenalty: 5}, History: []int32{1, 0}},       // -1, 3, -1, 2
		{Options: Options{PenaltyTokens: 3, PresencePenalty: 5}, History: []int32{1, 0}},       // -1, -2, -1, 2
		{Options: Options{PenaltyTokens: 4, FrequencyPenalty: 0.9}, History: []int32{0, 2, 1}}, // 2.2, 2.1, -1.9, 2
		{Options: Options{PenaltyTokens: 1, FrequencyPenalty: 0.9}, History: []int32{0, 2, 1}}, // 3.1, 3, -1, 2
		{Options: Options{RepetitionPenalty: 9, PresencePenalty: 9, FrequencyPenalty: 9}, History: []int32{0, 0}},
		{},
	}
	b := batch{dtype: mlx.Float32, rows: rows}
	for range rows {
		b.logits = append(b.logits, logits)
		b.newest = append(b.newest, 0)
	}
	if got, want := sampleOne(t, b).tokens, []int32{3, 1, 1, 3, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
}

func TestReports(t *testing.T) {
	flat := logs(0.25, 0.25, 0.25, 0.25)
	o := sampleOne(t, batch{
		dtype:  mlx.Float32,
		logits: [][]float32{logs(0.1, 0.6, 0.3, 0.0), flat, logs(0.5, 0.2, 0.2, 0.1), logs(0.1, 0.2, 0.7, 0.0), flat},
		rows: []Row{
			{Top: 2},
			{LogProb: true},
			{}, // asks for nothing
			{LogProb: true, Top: 1, Options: Options{Temperature: 0.5, TopK: 1}},
			{Top: 3, Options: Options{LogitBias: map[int32]float32{3: 100}}},
		},
	})
	if want := []int32{1, 0, 0, 2, 3}; !slices.Equal(o.tokens, want) {
		t.Fatalf("tokens %v, want %v", o.tokens, want)
	}
	near := func(name string, got float32, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("%s: logprob %g, want %g", name, got, want)
		}
	}
	if len(o.logprobs) != 2 {
		t.Fatalf("logprobs %v, want those of two rows", o.logprobs)
	}
	near("flat", o.logprobs[0], math.Log(0.25))
	near("sampled, before top-k and temperature", o.logprobs[1], math.Log(0.7))
	want := [][]int32{{1, 2}, {2}, {3, 0, 1}} // of ties the lowest ids
	if len(o.top) != len(want) {
		t.Fatalf("alternatives of %d rows, want %d", len(o.top), len(want))
	}
	for i, row := range o.top {
		var ids []int32
		for _, c := range row {
			ids = append(ids, c.id)
		}
		if !slices.Equal(ids, want[i]) {
			t.Errorf("alternatives %v, want %v", ids, want[i])
		}
	}
	near("first alternative", o.top[0][0].logprob, math.Log(0.6))
	near("after the bias", o.top[2][0].logprob, 0)
}

func TestReportsOfTheWholeVocabulary(t *testing.T) {
	o := sampleOne(t, batch{dtype: mlx.Float32, logits: [][]float32{logs(0.2, 0.5, 0.3)}, rows: []Row{{Top: 20}}})
	if len(o.top) != 1 || len(o.top[0]) != 3 || o.top[0][0].id != 1 || o.top[0][1].id != 2 || o.top[0][2].id != 0 {
		t.Errorf("alternatives %v", o.top)
	}
}

func TestExtremeLogits(t *testing.T) {
	all := Options{Temperature: 1, TopP: 0.9, MinP: 0.01, TopK: 2, XTCProbability: 1, XTCThreshold: 0.1, PenaltyTokens: 20, RepetitionPenalty: 1.5}
	cold, coldest := all, all
	cold.Temperature, coldest.Temperature = 1e-5, math.SmallestNonzeroFloat64
	for _, dtype := range []mlx.DType{mlx.Float32, mlx.Float16, mlx.BFloat16} {
		large := float32(60000)
		for _, options := range []Options{{Temperature: 1}, {Temperature: 1e-300}, {Temperature: 2, TopP: 1e-9}, all, cold, coldest} {
			b := batch{
				dtype: dtype,
				logits: [][]float32{
					{-infinity, large, -infinity, -infinity},
					{-large, -large, -large, large},
					{-infinity, -infinity, 0, -infinity},
				},
			}
			for range b.logits {
				b.rows = append(b.rows, Row{Options: options, LogProb: true, Top: 4})
			}
			o := sampleOne(t, b)
			if want := []int32{1, 3, 2}; !slices.Equal(o.tokens, want) {
				t.Errorf("%v %+v: tokens %v, want the only possible ones, %v", dtype, options, o.tokens, want)
			}
			for _, logprob := range o.logprobs {
				if logprob != 0 {
					t.Errorf("%v %+v: logprobs %v of certain tokens", dtype, options, o.logprobs)
				}
			}
			for _, row := range o.top {
				for _, c := range row {
					if math.IsNaN(float64(c.logprob)) {
						t.Errorf("%v %+v: alternatives %v", dtype, options, o.top)
					}
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	two := [][]float32{{1, 2}, {3, 4}}
	for name, b := range map[string]batch{
		"rows and logits": {logits: two, rows: []Row{{}}},
		"bias":            {logits: two, rows: []Row{{Options: Options{LogitBias: map[int32]float32{2: 1}}}, {}}},
		"history":         {logits: two, rows: []Row{{Options: Options{PenaltyTokens: 9, PresencePenalty: 1}, History: []int32{-1}}, {}}},
		"exempt from XTC": {logits: two, rows: []Row{{Options: Options{Temperature: 1, XTCProbability: 1, XTCExempt: []int32{7}}}, {}}},
	} {
		b.dtype, b.newest = mlx.Float32, []int32{0, 0}
		mlxtest.Run(t, func(stream mlx.Stream) error {
			if o, err := sampleBatch(stream, b); err == nil {
				return fmt.Errorf("%s: sampled %v", name, o.tokens)
			}
			return nil
		})
	}
}
