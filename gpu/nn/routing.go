package nn

import "mlx-worker/gpu/mlx"

// Router chooses experts for tokens x, [1, T, hidden]: their indices and what their outputs count,
// both [1, T, k].
type Router func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array)

// MoE is a mixture of experts: of all experts, each token takes those that the router chooses.
type MoE struct {
	Route   Router
	Experts *GatedExperts

	// Shared, if set, is a feed-forward layer of all tokens, whose output is added.
	Shared interface {
		Forward(s *mlx.Scope, x mlx.Array) mlx.Array
	}
}

// Forward applies the layer to x, [1, T, hidden].
func (m *MoE) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	indices, weights := m.Route(s, x)
	y := WeightedSum(s, m.Experts.Forward(s, x, indices), weights)
	if m.Shared == nil {
		return y
	}
	return s.Add(y, m.Shared.Forward(s, x))
}

// Top returns the indices of the k greatest elements of the last axis: TopK or TopKNegated.
type Top func(s *mlx.Scope, x mlx.Array, k int) mlx.Array

// SoftmaxRouter weighs a token's k best experts by their softmax among all; normalized, so that
// the weights add up to 1.
func SoftmaxRouter(gate Linear, k int, normalized bool, top Top) Router {
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		scores := s.PreciseSoftmax(gate.Forward(s, x), -1)
		indices = top(s, scores, k)
		weights = s.TakeAlongAxis(scores, indices, -1)
		if normalized {
			weights = s.Divide(weights, s.Sum(weights, -1, true))
		}
		return indices, weights
	}
}

// ChosenSoftmaxRouter weighs a token's k best experts by the softmax among them.
func ChosenSoftmaxRouter(gate Linear, k int, top Top) Router {
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		logits := gate.Forward(s, x)
		indices = top(s, logits, k)
		return indices, s.PreciseSoftmax(s.TakeAlongAxis(logits, indices, -1), -1)
	}
}

// TopKNegated is TopK by the other end of the order. Which of the two a family uses decides in
// which order its experts' outputs are added.
func TopKNegated(s *mlx.Scope, x mlx.Array, k int) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.SliceAxis(s.ArgPartition(s.Negative(x), k-1, -1), -1, 0, k)
}

// Groups are experts of which only those in the best groups can be chosen.
type Groups struct {
	Count, Chosen int // Count 0 or 1: all experts are one group
}

// only sets the scores, [1, T, experts], of experts outside the best groups to 0. best gives each
// group, [1, T, groups, experts of a group], a score, [1, T, groups, 1].
func (g Groups) only(s *mlx.Scope, scores mlx.Array, best func(scores mlx.Array) mlx.Array) mlx.Array {
	drop := g.Count - g.Chosen
	if s.Err() != nil || g.Count < 2 || drop == 0 {
		return scores
	}
	tokens, experts := scores.Dim(1), scores.Dim(2)
	scores = s.Reshape(scores, 1, tokens, g.Count, experts/g.Count)
	worst := s.SliceAxis(s.ArgPartition(best(scores), drop-1, -2), -2, 0, drop)
	if s.Err() != nil {
		return mlx.Array{}
	}
	scores = s.PutAlongAxis(scores, worst, s.Scalar(0, scores.DType()), -2)
	return s.Reshape(scores, 1, tokens, experts)
}

// GroupedSoftmaxRouter is DeepSeek V2's: a group is as good as its best expert, and weights are
// the softmax among all experts times scale.
func GroupedSoftmaxRouter(gate Linear, k int, groups Groups, scale float64) Router {
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		scores := s.PreciseSoftmax(gate.Forward(s, x), -1)
		scores = groups.only(s, scores, func(scores mlx.Array) mlx.Array { return s.Max(scores, -1, true) })
		indices = TopKNegated(s, scores, k)
		if s.Err() != nil {
			return mlx.Array{}, mlx.Array{}
		}
		return indices, s.Multiply(s.TakeAlongAxis(scores, indices, -1), s.Scalar(scale, scores.DType()))
	}
}

// CorrectedRouter is DeepSeek V3's: experts are chosen by their sigmoid plus a correction, float32
// [experts], and weighed by the sigmoid times scale, in float32.
type CorrectedRouter struct {
	Gate       Linear
	Correction *mlx.Ref
	K          int
	Groups     Groups // a group is as good as its two best experts
	Normalized bool   // weights add up to scale
	Scale      float64
	Float32    bool // the gate, too, computes in float32
}

// Route is a Router.
func (r *CorrectedRouter) Route(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
	if r.Float32 {
		x = s.AsType(x, mlx.Float32)
	}
	sigmoids := s.Sigmoid(s.AsType(r.Gate.Forward(s, x), mlx.Float32))
	scores := s.Add(sigmoids, r.Correction.Array())
	scores = r.Groups.only(s, scores, func(scores mlx.Array) mlx.Array {
		return s.Sum(s.TakeAlongAxis(scores, TopK(s, scores, 2), -1), -1, true)
	})
	indices = TopKNegated(s, scores, r.K)
	weights = s.TakeAlongAxis(sigmoids, indices, -1)
	if r.Normalized && r.K > 1 {
		weights = s.Divide(weights, s.Sum(weights, -1, true))
	}
	return indices, s.Multiply(weights, s.Scalar(r.Scale, mlx.Float32))
}
