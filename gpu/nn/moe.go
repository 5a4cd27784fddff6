package nn

import (
	"fmt"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
)

// ExpertLinear is a projection with a matrix for each expert.
type ExpertLinear interface {
	// Forward takes x [..., 1, in] and the expert of each row, indices [...], with leading axes
	// that broadcast. sorted says that indices ascend. It returns [..., 1, out].
	Forward(s *mlx.Scope, x, indices mlx.Array, sorted bool) mlx.Array
}

type denseExperts struct {
	weightT *mlx.Ref // [experts, in, out], a view
	bias    *mlx.Ref // [experts, out] or nil
}

func (l *denseExperts) Forward(s *mlx.Scope, x, indices mlx.Array, sorted bool) mlx.Array {
	return addExpertBias(s, s.GatherMM(x, l.weightT.Array(), indices, sorted), l.bias, indices)
}

type quantizedExperts struct {
	matrix *quantizedMatrix // [experts, out, in]
	bias   *mlx.Ref
}

func (l *quantizedExperts) Forward(s *mlx.Scope, x, indices mlx.Array, sorted bool) mlx.Array {
	return addExpertBias(s, s.GatherQMM(x, l.matrix.view(), indices, sorted), l.bias, indices)
}

func addExpertBias(s *mlx.Scope, y mlx.Array, bias *mlx.Ref, indices mlx.Array) mlx.Array {
	if bias == nil {
		return y
	}
	return s.Add(y, s.ExpandDims(s.Take(bias.Array(), indices, 0), -2))
}

// Experts builds the stacked projections at path, [experts, out, in].
func (b *Builder) Experts(path string, experts, in, out int) ExpertLinear {
	p := b.projection(path, in, out, experts)
	if b.Err() != nil {
		return nil
	}
	return b.experts([]projection{p}, nil)
}

// SingleExperts builds the projections that the checkpoint holds expert by expert, at path.0.name,
// path.1.name and so on, [out, in] each.
func (b *Builder) SingleExperts(path, name string, experts, in, out int) ExpertLinear {
	var parts []projection
	for i := range experts {
		parts = append(parts, b.projection(fmt.Sprintf("%s.%d.%s", path, i, name), in, out))
	}
	if b.Err() != nil {
		return nil
	}
	return b.experts(parts, func(s *mlx.Scope, joined mlx.Array) mlx.Array {
		if s.Err() != nil {
			return mlx.Array{}
		}
		shape := joined.Shape() // the experts' matrices or vectors, one after the other
		return s.Reshape(joined, append([]int{experts, shape[0] / experts}, shape[1:]...)...)
	})
}

// experts makes one layer of projections of one format. stack, if not nil, gives the joined
// arrays an axis of experts.
func (b *Builder) experts(parts []projection, stack func(s *mlx.Scope, joined mlx.Array) mlx.Array) ExpertLinear {
	for _, p := range parts[1:] {
		if !p.sameFormat(parts[0]) {
			b.fail("the experts are quantised in different ways")
			return nil
		}
	}
	settle := func(dtype *mlx.DType, array func(projection) *load.Array) *mlx.Ref {
		if array(parts[0]) == nil {
			return nil
		}
		joined := b.settle(dtype, column(parts, array)...)
		if b.Err() != nil || stack == nil {
			return joined
		}
		return b.upload.replace([]*mlx.Ref{joined}, func(s *mlx.Scope) mlx.Array { return stack(s, joined.Array()) })
	}
	return b.expertLayer(expertArrays{
		weight: settle(b.weightDType(parts[0]), func(p projection) *load.Array { return p.weight }),
		scales: settle(b.scaleDType(parts[0].format), func(p projection) *load.Array { return p.scales }),
		biases: settle(b.scaleDType(parts[0].format), func(p projection) *load.Array { return p.biases }),
		bias:   settle(b.policy.DType, func(p projection) *load.Array { return p.bias }),
	}, parts[0].format)
}

// GatedExperts are feed-forward layers, of which every token takes some.
type GatedExperts struct {
	Gate, Up, Down ExpertLinear // Gate may be nil
	// Activate combines the gate's output, null if there is no gate, and the up projection's.
	Activate func(s *mlx.Scope, gate, up mlx.Array) mlx.Array
}

// Gated is the usual Activate: activation(gate) * up.
func Gated(activation Activation) func(s *mlx.Scope, gate, up mlx.Array) mlx.Array {
	return func(s *mlx.Scope, gate, up mlx.Array) mlx.Array { return s.Multiply(activation(s, gate), up) }
}

// GatedExperts builds stacked gate_proj, up_proj and down_proj below path, with SwiGLU.
func (b *Builder) GatedExperts(path string, experts, hidden, intermediate int) *GatedExperts {
	return &GatedExperts{
		Gate:     b.Experts(path+".gate_proj", experts, hidden, intermediate),
		Up:       b.Experts(path+".up_proj", experts, hidden, intermediate),
		Down:     b.Experts(path+".down_proj", experts, intermediate, hidden),
		Activate: Gated(b.SiLU()),
	}
}

// SplitGatedExperts is GatedExperts whose gate's and up projection's outputs are those of one
// projection, at gateUp.
func (b *Builder) SplitGatedExperts(gateUp string, split ExpertSplit, down string, experts, hidden, intermediate int) *GatedExperts {
	e := &GatedExperts{Activate: Gated(b.SiLU())}
	e.Gate, e.Up = b.splitExperts(gateUp, split, experts, hidden, intermediate)
	e.Down = b.Experts(down, experts, intermediate, hidden)
	return e
}

// sortedExpertsFrom is the number of choices from which tokens are sorted by expert, so that a
// matrix is read once for all of them; as in mlx-lm.
const sortedExpertsFrom = 64

// Forward runs tokens x, [1, T, hidden], through the experts that indices, [1, T, k], name. It
// returns [1, T, k, hidden].
func (e *GatedExperts) Forward(s *mlx.Scope, x, indices mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	tokens, choices, hidden := x.Dim(1), indices.Dim(2), x.Dim(2)
	if tokens*choices < sortedExpertsFrom {
		return s.Squeeze(e.apply(s, s.Reshape(x, 1, tokens, 1, 1, hidden), indices, false), -2)
	}
	flat := s.Reshape(indices, tokens*choices)
	order := s.ArgSort(flat, 0)
	of := s.FloorDivide(order, s.Uint32s([]uint32{uint32(choices)}, 1))
	x = s.Take(s.Reshape(x, tokens, 1, hidden), of, 0)
	y := e.apply(s, x, s.Take(flat, order, 0), true)
	y = s.Take(y, s.ArgSort(order, 0), 0)
	return s.Reshape(y, 1, tokens, choices, hidden)
}

func (e *GatedExperts) apply(s *mlx.Scope, x, indices mlx.Array, sorted bool) mlx.Array {
	up := e.Up.Forward(s, x, indices, sorted)
	var gate mlx.Array
	if e.Gate != nil {
		gate = e.Gate.Forward(s, x, indices, sorted)
	}
	return e.Down.Forward(s, e.Activate(s, gate, up), indices, sorted)
}

// TopK returns the indices, uint32 [..., k], of the k greatest elements of the last axis, in no order.
func TopK(s *mlx.Scope, x mlx.Array, k int) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	n := x.Dim(-1)
	return s.SliceAxis(s.ArgPartition(x, n-k, -1), -1, n-k, n)
}

// WeightedSum adds the experts' outputs, [1, T, k, hidden], by weights [1, T, k], in y's dtype.
func WeightedSum(s *mlx.Scope, y, weights mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.AsType(s.Sum(s.Multiply(y, s.ExpandDims(weights, -1)), -2, false), y.DType())
}
