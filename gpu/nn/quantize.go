package nn

import (
	"strings"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
)

// Conversion is what becomes of a checkpoint's arrays before anything else, as mlx_lm.convert
// would have written them.
type Conversion struct {
	// DType is what an array's floats are cast to; nil: they stay as stored.
	DType func(name string) *mlx.DType
	// Format is how the dense matrix at path, with so many inputs, is quantised; nil: not at all.
	Format func(path string, in int) *load.QuantSpec
}

// unquantised is a dense matrix of the checkpoint that the builder presents as a quantised one.
// The arrays of the latter have no Fill: they are made on the device when the first of them, the
// weight, is wanted.
type unquantised struct {
	dense  load.Array
	format *load.QuantSpec
	made   *quantizedMatrix // of the matrices joined with this one, on the first of them
}

// convert presents the dense matrix [..., out, in] as quantised, if the policy wants it to be.
func (b *Builder) convert(path string, dense *load.Array) (weight, scales, biases *load.Array, format *load.QuantSpec) {
	if b.policy.Conversion == nil || dense == nil {
		return dense, nil, nil, nil
	}
	in := dense.Shape[len(dense.Shape)-1]
	if format = b.policy.Conversion.Format(path, in); format == nil {
		return dense, nil, nil, nil
	}
	if in%format.GroupSize != 0 {
		b.fail("%s: %d inputs are not a multiple of the quantisation group of %d", path, in, format.GroupSize)
		return nil, nil, nil, nil
	}
	if b.unquantised == nil {
		b.unquantised = map[string]*unquantised{}
	}
	b.unquantised[path] = &unquantised{dense: *dense, format: format}
	part := func(name string, dtype mlx.DType, columns int) *load.Array {
		shape := append([]int{}, dense.Shape...)
		shape[len(shape)-1] = columns
		return &load.Array{Name: path + name, DType: dtype, Shape: shape}
	}
	scalesDType := mlx.Uint8
	if format.Mode == mlx.Affine {
		scalesDType = dense.DType
		biases = part(".biases", scalesDType, in/format.GroupSize)
	}
	return part(".weight", mlx.Uint32, in*format.Bits/32), part(".scales", scalesDType, in/format.GroupSize), biases, format
}

// quantise returns the part of matrices that convert presented, joined along their first axis.
func (b *Builder) quantise(arrays []load.Array) *mlx.Ref {
	path, part := cutPart(arrays[0].Name)
	first := b.unquantised[path]
	if first.made == nil {
		dense := make([]load.Array, len(arrays))
		for i, a := range arrays {
			path, _ := cutPart(a.Name)
			dense[i] = b.unquantised[path].dense
		}
		first.made = b.upload.quantise(dense, b.stored(dense[0].Name), *first.format, b.policy.DType)
	}
	switch part {
	case "scales":
		return first.made.scales
	case "biases":
		return first.made.biases
	default:
		return first.made.weight
	}
}

// cutPart splits "model.norm.weight" into "model.norm" and "weight".
func cutPart(name string) (path, part string) {
	i := strings.LastIndexByte(name, '.')
	return name[:i], name[i+1:]
}

// stored is what the array's floats are cast to before anything else, or nil.
func (b *Builder) stored(name string) *mlx.DType {
	if b.policy.Conversion == nil {
		return nil
	}
	return b.policy.Conversion.DType(name)
}

// quantise reads dense matrices, joins them along their first axis, casts them to stored if it is
// given and quantises them. Scales and biases become dtype if it is given.
func (u *uploader) quantise(dense []load.Array, stored *mlx.DType, format load.QuantSpec, dtype *mlx.DType) *quantizedMatrix {
	return u.quantised(&upload{from: dense, cut: byRow}, format, dtype, func(s *mlx.Scope, in mlx.Array) mlx.Array {
		return cast(s, in, stored)
	})
}

// quantised is quantise of what dense computes from the upload's input.
func (u *uploader) quantised(up *upload, format load.QuantSpec, dtype *mlx.DType, dense func(s *mlx.Scope, in mlx.Array) mlx.Array) *quantizedMatrix {
	q := &quantizedMatrix{format: format, weight: &mlx.Ref{}, scales: &mlx.Ref{}, dtype: dtype}
	if format.Mode == mlx.Affine {
		q.biases = &mlx.Ref{}
	}
	up.counted, up.made = true, q.refs()
	up.compute = func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		made := s.Quantize(dense(s, in[0]), format.GroupSize, format.Bits, format.Mode)
		if s.Err() != nil {
			return nil
		}
		parts := []mlx.Array{made.Weight, made.Scales, made.Biases}[:len(up.made)]
		for i, part := range parts[1:] {
			if part.DType().IsFloat() {
				parts[1+i] = cast(s, part, dtype)
			}
		}
		return parts
	}
	u.add(up)
	return q
}

// cast is AsType, or nothing if dtype is nil.
func cast(s *mlx.Scope, a mlx.Array, dtype *mlx.DType) mlx.Array {
	if dtype == nil {
		return a
	}
	return s.AsType(a, *dtype)
}
