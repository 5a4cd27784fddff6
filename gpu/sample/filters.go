package sample

import (
	"math"
	"slices"

	"mlx-worker/gpu/mlx"
)

// The filters take log-probabilities, [rows, vocab], and give dropped tokens -Inf.

// topP drops every token with at least p of the probability mass strictly above it. The cut
// is a threshold, so ties with the last kept token survive, and the likeliest always does. p is
// float32 [rows, 1]. best is null, or what largest returned where topK will follow: then tokens
// that topK drops may stay, and nothing else needs sorting.
func topP(s *mlx.Scope, logprobs, best, p mlx.Array) mlx.Array {
	var total mlx.Array
	if best.IsNull() {
		best = s.Sort(logprobs, -1)
	} else {
		total = s.Sum(s.Exp(s.AsType(logprobs, mlx.Float32)), -1, true)
	}
	probs := s.Exp(s.AsType(best, mlx.Float32))
	above := s.ExclusiveCumSum(probs, -1, true)
	if total.IsNull() {
		total = s.Add(s.SliceAxis(above, -1, 0, 1), s.SliceAxis(probs, -1, 0, 1))
	}
	dropped := s.Sum(s.AsType(s.GreaterEqual(above, s.Multiply(total, p)), mlx.Int32), -1, true)
	return dropIf(s, s.Less(logprobs, s.TakeAlongAxis(best, dropped, -1)), logprobs)
}

// minP drops tokens less than p times as likely as the likeliest; logP is ln(p), [rows, 1].
func minP(s *mlx.Scope, logprobs, logP mlx.Array) mlx.Array {
	return dropIf(s, s.Less(logprobs, s.Add(s.Max(logprobs, -1, true), logP)), logprobs)
}

// xtc drops, of the tokens more probable than a threshold, [rows, 1], all but the least
// probable. Probabilities are of what is left; rows' exempt ids stay.
func xtc(s *mlx.Scope, logprobs, threshold mlx.Array, rows []*Row) mlx.Array {
	probs := s.Softmax(logprobs, -1)
	if s.Err() != nil {
		return mlx.Array{}
	}
	none := s.Scalar(math.Inf(1), probs.DType())
	least := s.Min(s.Where(s.Greater(probs, threshold), probs, none), -1, true)
	excluded := dropIf(s, s.Greater(probs, least), logprobs)
	vocab := logprobs.Dim(-1)
	var exempt []int32
	for i, r := range rows {
		for _, id := range r.XTCExempt {
			exempt = append(exempt, index(s, i*vocab, id, vocab))
		}
	}
	if len(exempt) == 0 {
		return excluded
	}
	at := s.Int32s(exempt, len(exempt))
	restored := s.PutAlongAxis(s.Reshape(excluded, -1), at, s.Take(s.Reshape(logprobs, -1), at, 0), 0)
	return s.Reshape(restored, len(rows), vocab)
}

// largest returns the n largest log-probabilities of each row, ascending.
func largest(s *mlx.Scope, logprobs mlx.Array, n int) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	vocab := logprobs.Dim(-1)
	return s.Sort(s.SliceAxis(s.Partition(logprobs, vocab-n, -1), -1, vocab-n, vocab), -1)
}

// topK keeps counts[i] tokens of row i, between 1 and the vocabulary size; of those tied for
// the last place the lowest ids, so that a row's tokens do not depend on the other counts.
// best is what largest returned for the greatest count, of logprobs or of what they were before
// filters that drop the unlikeliest tokens.
func topK(s *mlx.Scope, logprobs, best mlx.Array, counts []int32) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	places := s.Int32s(counts, len(counts), 1)
	last := s.TakeAlongAxis(best, s.Subtract(s.Int32s([]int32{int32(best.Dim(-1))}, 1), places), -1)
	likelier := s.Sum(s.AsType(s.Greater(best, last), mlx.Int32), -1, true)
	tied := s.Equal(logprobs, last)
	late := s.Greater(s.CumSum(s.AsType(tied, mlx.Int32), -1, false), s.Subtract(places, likelier))
	return dropIf(s, s.LogicalOr(s.Less(logprobs, last), s.LogicalAnd(tied, late)), logprobs)
}

// likeliest returns the ids, int32 [rows, k], and log-probabilities, float32 [rows, k], of the
// tokens that topK keeps; k is the greatest count.
func likeliest(s *mlx.Scope, logprobs mlx.Array, counts []int32) (ids, values mlx.Array) {
	k := most(counts)
	kept := topK(s, logprobs, largest(s, logprobs, k), counts)
	top := s.SliceAxis(s.ArgPartition(s.Negative(kept), k-1, -1), -1, 0, k)
	return s.AsType(top, mlx.Int32), s.AsType(s.TakeAlongAxis(kept, top, -1), mlx.Float32)
}

func most(counts []int32) int { return int(slices.Max(counts)) }

func dropIf(s *mlx.Scope, condition, logprobs mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.Where(condition, s.Scalar(math.Inf(-1), logprobs.DType()), logprobs)
}
