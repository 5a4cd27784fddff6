// Package sample turns the logits of a batch into tokens on the device, each row by its own
// options, with the steps and the order of mlx-lm: logit bias, repetition, presence and
// frequency penalty; then argmax, or top-p, min-p, XTC, top-k, temperature and a categorical
// draw.
//
// A row's token does not depend on the rows beside it, bit for bit, and a step is computed only
// for rows that use it. Rows with the same steps share them, with their parameters in a column.
package sample

import (
	"fmt"
	"math"

	"mlx-worker/gpu/mlx"
)

// Sample draws the next token of every row. logits is [n, vocab] of any float dtype and newest
// int32 [n], each row's newest token, which History lacks; both may still be computed. It only
// builds operations, and errors stick to the scope.
func Sample(s *mlx.Scope, logits, newest mlx.Array, rows []Row) Result {
	if err := check(s, logits, rows); err != nil {
		s.Fail(err)
		return Result{}
	}
	logits = process(s, logits, newest, rows)
	if s.Err() != nil {
		return Result{}
	}
	r := Result{Tokens: tokens(s, logits, rows)}
	r.report(s, logits, rows)
	return r
}

func check(s *mlx.Scope, logits mlx.Array, rows []Row) error {
	if err := s.Err(); err != nil {
		return err
	}
	if logits.IsNull() || logits.NDim() != 2 || logits.Dim(0) != len(rows) {
		return fmt.Errorf("sample: the logits are not [%d, vocab]", len(rows))
	}
	if logits.Size() > math.MaxInt32 {
		return fmt.Errorf("sample: %d logits cannot be indexed in 32 bits", logits.Size())
	}
	return nil
}

// tokens draws for every row.
func tokens(s *mlx.Scope, logits mlx.Array, rows []Row) mlx.Array {
	groups := group(rows, logits.Dim(-1))
	if len(groups) == 0 {
		return argMax(s, logits)
	}
	var parts []mlx.Array
	order := make([]int32, len(rows)) // of each row's token in the parts
	drawn := 0
	for _, g := range groups {
		parts = append(parts, g.draw(s, logits))
		for _, number := range g.numbers {
			order[number] = int32(drawn)
			drawn++
		}
	}
	if drawn == len(rows) && len(parts) == 1 {
		return parts[0]
	}
	if drawn < len(rows) {
		// Looking at the sampled rows too is cheaper than copying the greedy ones.
		parts = append(parts, argMax(s, logits))
		for i := range rows {
			if !rows[i].sampled() {
				order[i] = int32(drawn + i)
			}
		}
	}
	return s.Take(s.Concatenate(0, parts...), s.Int32s(order, len(order)), 0)
}

func argMax(s *mlx.Scope, a mlx.Array) mlx.Array {
	return s.AsType(s.ArgMax(a, -1, false), mlx.Int32)
}

// report adds what rows ask for beside the token.
func (r *Result) report(s *mlx.Scope, logits mlx.Array, rows []Row) {
	if s.Err() != nil {
		return
	}
	vocab := logits.Dim(-1)
	var scored []int32         // numbers of rows that ask for something
	var tokens, starts []int32 // numbers of rows, and where their log-probabilities start
	var top, counts []int32    // places in scored, and numbers of tokens
	for i := range rows {
		row := &rows[i]
		if !row.LogProb && row.Top <= 0 {
			continue
		}
		place := len(scored)
		scored = append(scored, int32(i))
		if row.LogProb {
			tokens = append(tokens, int32(i))
			starts = append(starts, int32(place*vocab))
		}
		if row.Top > 0 {
			top = append(top, int32(place))
			counts = append(counts, int32(min(row.Top, vocab)))
		}
	}
	if len(scored) == 0 {
		return
	}
	logprobs := logProbs(s, take(s, logits, scored))
	if len(tokens) > 0 {
		at := s.Add(take(s, r.Tokens, tokens), s.Int32s(starts, len(starts)))
		r.LogProbs = s.AsType(s.Take(s.Reshape(logprobs, -1), at, 0), mlx.Float32)
	}
	if len(top) > 0 {
		r.TopIDs, r.TopValues = likeliest(s, take(s, logprobs, top), counts)
	}
}

func logProbs(s *mlx.Scope, logits mlx.Array) mlx.Array {
	return s.Subtract(logits, s.LogSumExp(logits, -1, true))
}

// take returns rows of a, whose numbers are distinct and ascend; a itself for all of them.
func take(s *mlx.Scope, a mlx.Array, numbers []int32) mlx.Array {
	if s.Err() != nil || len(numbers) == a.Dim(0) {
		return a
	}
	return s.Take(a, s.Int32s(numbers, len(numbers)), 0)
}
