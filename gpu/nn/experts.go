package nn

import (
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
)

// ExpertNames says under which names a checkpoint may hold the experts of a layer: stacked, as
// mlx-lm converts them, or one by one, as most are published.
type ExpertNames struct {
	Stacked string // gate_proj, up_proj and down_proj below it are those of all experts

	Single         string // Single.0, Single.1 and so on are the experts
	Gate, Up, Down string // the names of a single expert's projections
}

// GatedExpertsNamed builds experts with SwiGLU from what the checkpoint holds.
func (b *Builder) GatedExpertsNamed(names ExpertNames, experts, hidden, intermediate int) *GatedExperts {
	if b.Has(names.Stacked+".gate_proj.weight") || !b.Has(names.Single+".0."+names.Gate+".weight") {
		return b.GatedExperts(names.Stacked, experts, hidden, intermediate)
	}
	return &GatedExperts{
		Gate:     b.SingleExperts(names.Single, names.Gate, experts, hidden, intermediate),
		Up:       b.SingleExperts(names.Single, names.Up, experts, hidden, intermediate),
		Down:     b.SingleExperts(names.Single, names.Down, experts, intermediate, hidden),
		Activate: Gated(b.SiLU()),
	}
}

// Redescribe changes what is known of an array, if the checkpoint has it; for data that another
// name, dtype or shape of as many bytes describes as well.
func (b *Builder) Redescribe(name string, to func(a load.Array) load.Array) {
	if a, ok := b.arrays[name]; ok {
		delete(b.arrays, name)
		a = to(a)
		b.arrays[a.Name] = a
	}
}

// ExpertSplit says how the outputs of two projections are one projection's.
type ExpertSplit int

// The layouts.
const (
	Halves      ExpertSplit = iota // first all of the one, then all of the other
	Interleaved                    // by turns
)

// splitExperts builds two stacked projections of out outputs each that the checkpoint holds as
// one at path, [experts, 2 * out, in].
func (b *Builder) splitExperts(path string, split ExpertSplit, experts, in, out int) (first, second ExpertLinear) {
	p := b.projection(path, in, 2*out, experts)
	if b.Err() != nil {
		return nil, nil
	}
	var parts [2]expertArrays
	divide := func(dtype *mlx.DType, a *load.Array, to func(e *expertArrays) **mlx.Ref) {
		if a == nil {
			return
		}
		whole := b.settle(dtype, *a)
		take := func(i int) func(s *mlx.Scope, in mlx.Array) mlx.Array {
			return func(s *mlx.Scope, in mlx.Array) mlx.Array { return split.part(s, in, i) }
		}
		*to(&parts[0]) = b.upload.eachMatrix(whole, false, take(0))
		*to(&parts[1]) = b.upload.eachMatrix(whole, true, take(1))
	}
	divide(b.weightDType(p), p.weight, func(e *expertArrays) **mlx.Ref { return &e.weight })
	divide(b.scaleDType(p.format), p.scales, func(e *expertArrays) **mlx.Ref { return &e.scales })
	divide(b.scaleDType(p.format), p.biases, func(e *expertArrays) **mlx.Ref { return &e.biases })
	divide(b.policy.DType, p.bias, func(e *expertArrays) **mlx.Ref { return &e.bias })
	return b.expertLayer(parts[0], p.format), b.expertLayer(parts[1], p.format)
}

// part is the first or second of two projections' outputs, the second axis of a.
func (split ExpertSplit) part(s *mlx.Scope, a mlx.Array, i int) mlx.Array {
	shape := a.Shape()
	half := shape[1] / 2
	if split == Halves {
		return s.Contiguous(s.SliceAxis(a, 1, i*half, (i+1)*half))
	}
	pairs := append([]int{shape[0], half, 2}, shape[2:]...)
	one := append([]int{shape[0], half}, shape[2:]...)
	return s.Contiguous(s.Reshape(s.SliceAxis(s.Reshape(a, pairs...), 2, i, i+1), one...))
}

// expertArrays are the stacked arrays of a layer of experts; all but weight may be nil.
type expertArrays struct{ weight, scales, biases, bias *mlx.Ref }

// expertLayer chooses how experts compute. format is nil if they are dense.
func (b *Builder) expertLayer(a expertArrays, format *load.QuantSpec) ExpertLinear {
	if b.Err() != nil {
		return nil
	}
	weight := a.weight
	if format != nil {
		matrix := &quantizedMatrix{weight: a.weight, scales: a.scales, biases: a.biases, format: *format, dtype: b.policy.DType}
		if !b.policy.DenseWeights {
			return &quantizedExperts{matrix: matrix, bias: a.bias}
		}
		weight = b.upload.dequantised(matrix)
	}
	if b.policy.Backend == mlx.CPU && b.policy.DType != nil && b.policy.DType.IsHalf() {
		b.fail("MLX's CPU backend multiplies by dense experts in float32 only: load the model with dtype float32")
		return nil
	}
	transposed := b.upload.derive(false, func(s *mlx.Scope) mlx.Array { return s.Transpose(weight.Array(), 0, 2, 1) })
	return &denseExperts{weightT: transposed, bias: a.bias}
}

// TransposedGatedExperts builds experts with SwiGLU from arrays that are the other way around,
// path.gate_up_proj, [experts, hidden, 2 * intermediate], and path.down_proj, [experts,
// intermediate, hidden].
func (b *Builder) TransposedGatedExperts(path string, experts, hidden, intermediate int) *GatedExperts {
	whole := func(name string, shape ...int) *mlx.Ref {
		array := b.take(path+name, shape...)
		if array == nil {
			return nil
		}
		b.parameters += int64(array.Size() / array.DType.Size())
		return b.settle(nil, *array)
	}
	gateUp := whole(".gate_up_proj", experts, hidden, 2*intermediate)
	down := whole(".down_proj", experts, intermediate, hidden)
	if b.Err() != nil {
		return nil
	}
	half := func(i int) func(s *mlx.Scope, in mlx.Array) mlx.Array {
		return func(s *mlx.Scope, in mlx.Array) mlx.Array {
			return s.SliceAxis(in, 2, i*intermediate, (i+1)*intermediate)
		}
	}
	all := func(_ *mlx.Scope, in mlx.Array) mlx.Array { return in }
	return &GatedExperts{
		Gate:     b.transposedExperts(path+".gate_proj", hidden, gateUp, false, half(0)),
		Up:       b.transposedExperts(path+".up_proj", hidden, gateUp, true, half(1)),
		Down:     b.transposedExperts(path+".down_proj", intermediate, down, true, all),
		Activate: Gated(b.SiLU()),
	}
}

// transposedExperts is the projection of the part of stored, matrices [experts, in, out], that would
// be at path in a converted checkpoint, converted as the policy wants. last says that nothing else
// needs stored, which is freed then.
func (b *Builder) transposedExperts(path string, in int, stored *mlx.Ref, last bool, part func(s *mlx.Scope, in mlx.Array) mlx.Array) ExpertLinear {
	var format *load.QuantSpec
	if b.policy.Conversion != nil {
		format = b.policy.Conversion.Format(path, in)
	}
	if format == nil {
		return &denseExperts{weightT: b.upload.eachMatrix(stored, last, func(s *mlx.Scope, in mlx.Array) mlx.Array {
			return s.Contiguous(cast(s, part(s, in), b.policy.DType))
		})}
	}
	up := &upload{inputs: []*mlx.Ref{stored}, cut: byMatrix}
	if last {
		up.replace = up.inputs
	}
	q := b.upload.quantised(up, *format, b.policy.DType, func(s *mlx.Scope, in mlx.Array) mlx.Array {
		return s.Contiguous(s.Transpose(part(s, in), 0, 2, 1))
	})
	return b.expertLayer(expertArrays{weight: q.weight, scales: q.scales, biases: q.biases}, format)
}
