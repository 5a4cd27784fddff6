package mlx

// #include "bridge.h"
import "C"

// Greater returns a > b elementwise with broadcasting, as bool.
func (s *Scope) Greater(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("greater", C.mlx_greater(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Equal returns a == b elementwise with broadcasting, as bool.
func (s *Scope) Equal(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("equal", C.mlx_equal(&out, a.c(), b.c(), s.stream), out, a, b)
}

// LogicalOr returns a or b elementwise with broadcasting.
func (s *Scope) LogicalOr(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("logical_or", C.mlx_logical_or(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Softmax returns exp(a) / sum(exp(a)) along an axis, in a's dtype.
func (s *Scope) Softmax(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("softmax", C.mlx_softmax_axis(&out, a.c(), C.int(axis), false, s.stream), out, a)
}

// Min returns the smallest element along an axis.
func (s *Scope) Min(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("min", C.mlx_min_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// ArgMin returns the index of the smallest element along an axis, lowest index on ties, uint32.
func (s *Scope) ArgMin(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("argmin", C.mlx_argmin_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// Partition puts the kth smallest element along an axis in its sorted place, smaller ones before.
func (s *Scope) Partition(a Array, kth, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("partition", C.mlx_partition_axis(&out, a.c(), C.int(kth), C.int(axis), s.stream), out, a)
}

// ScatterAddAxis returns a with values added at indices of a's rank, once for each occurrence of
// an index. The dtype is a's.
func (s *Scope) ScatterAddAxis(a, indices, values Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("scatter_add_axis", C.mlx_scatter_add_axis(&out, a.c(), indices.c(), values.c(), C.int(axis), s.stream), out, a, indices, values)
}
