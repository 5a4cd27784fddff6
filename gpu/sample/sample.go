// Package sample turns logits into tokens on the device, with the filters and their order of
// mlx-lm: top-p, min-p, top-k, temperature, categorical.
package sample

import (
	"math"

	"mlx-worker/gpu/mlx"
)

// Options choose a token. Temperature 0 is greedy and ignores the others.
type Options struct {
	Temperature float64
	TopP        float64 // (0, 1]; 1: off
	TopK        int     // 0, or the vocabulary size and above: off
	MinP        float64 // [0, 1]; 0: off
	Seed        uint64
}

// LogProbs returns log-probabilities, in the dtype of logits, [..., vocab].
func LogProbs(s *mlx.Scope, logits mlx.Array) mlx.Array {
	return s.Subtract(logits, s.LogSumExp(logits, -1, true))
}

// Token samples from logprobs, [n, vocab], and returns int32 [n]. Draws are numbered: equal
// seeds and numbers draw equal tokens from equal logprobs. Greedy sampling takes the lowest
// id of equal maxima, and may be given logits instead.
func Token(s *mlx.Scope, logprobs mlx.Array, o Options, draw uint64) mlx.Array {
	if o.Temperature == 0 {
		return s.AsType(s.ArgMax(logprobs, -1, false), mlx.Int32)
	}
	if o.TopP > 0 && o.TopP < 1 {
		logprobs = topP(s, logprobs, o.TopP)
	}
	if o.MinP > 0 {
		logprobs = minP(s, logprobs, o.MinP)
	}
	if s.Err() == nil && o.TopK > 0 && o.TopK < logprobs.Dim(-1) {
		logprobs = topK(s, logprobs, o.TopK)
	}
	if s.Err() != nil {
		return mlx.Array{}
	}
	scaled := s.Multiply(logprobs, s.Scalar(1/o.Temperature, logprobs.DType()))
	return s.AsType(s.Categorical(scaled, -1, s.RandomKey(o.Seed, draw)), mlx.Int32)
}

// Top returns the ids, int32 [n, k], and log-probabilities, [n, k], of the k likeliest tokens,
// in no order. k is less than the vocabulary size.
func Top(s *mlx.Scope, logprobs mlx.Array, k int) (ids, values mlx.Array) {
	order := s.ArgPartition(s.Negative(logprobs), k-1, -1)
	top := s.SliceAxis(order, -1, 0, k)
	return s.AsType(top, mlx.Int32), s.TakeAlongAxis(logprobs, top, -1)
}

// topP drops every token with at least p of the probability mass strictly above it. The cut
// is a threshold, so ties with the last kept token survive, and the likeliest always does.
func topP(s *mlx.Scope, logprobs mlx.Array, p float64) mlx.Array {
	sorted := s.Sort(logprobs, -1)
	probs := s.Exp(s.AsType(sorted, mlx.Float32))
	above := s.ExclusiveCumSum(probs, -1, true)
	total := s.Add(s.SliceAxis(above, -1, 0, 1), s.SliceAxis(probs, -1, 0, 1))
	dropped := s.Sum(s.AsType(s.GreaterEqual(above, s.Multiply(total, s.Scalar(p, mlx.Float32))), mlx.Int32), -1, true)
	threshold := s.TakeAlongAxis(sorted, dropped, -1)
	return dropBelow(s, logprobs, threshold)
}

// minP drops tokens less than p times as likely as the likeliest.
func minP(s *mlx.Scope, logprobs mlx.Array, p float64) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	threshold := s.Add(s.Max(logprobs, -1, true), s.Scalar(math.Log(p), logprobs.DType()))
	return dropBelow(s, logprobs, threshold)
}

// topK keeps k tokens; which of those tied for the last place is unspecified.
func topK(s *mlx.Scope, logprobs mlx.Array, k int) mlx.Array {
	order := s.ArgPartition(s.Negative(logprobs), k-1, -1)
	if s.Err() != nil {
		return mlx.Array{}
	}
	dropped := s.SliceAxis(order, -1, k, order.Dim(-1))
	return s.PutAlongAxis(logprobs, dropped, s.Scalar(math.Inf(-1), logprobs.DType()), -1)
}

func dropBelow(s *mlx.Scope, logprobs, threshold mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.Where(s.Less(logprobs, threshold), s.Scalar(math.Inf(-1), logprobs.DType()), logprobs)
}
