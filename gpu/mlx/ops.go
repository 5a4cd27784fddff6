package mlx

// #include "bridge.h"
// #cgo noescape mlx_add
// #cgo nocallback mlx_add
// #cgo noescape mlx_multiply
// #cgo nocallback mlx_multiply
// #cgo noescape mlx_matmul
// #cgo nocallback mlx_matmul
// #cgo noescape mlx_reshape
// #cgo nocallback mlx_reshape
// #cgo noescape mlx_transpose_axes
// #cgo nocallback mlx_transpose_axes
// #cgo noescape mlx_slice
// #cgo nocallback mlx_slice
// #cgo noescape mlx_slice_update
// #cgo nocallback mlx_slice_update
// #cgo noescape mlx_sigmoid
// #cgo nocallback mlx_sigmoid
import "C"

import (
	"fmt"
	"unsafe"
)

// Add returns a + b with broadcasting.
func (s *Scope) Add(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	if s.kernels {
		return s.add(a, b)
	}
	var out C.mlx_array
	return s.own("add", C.mlx_add(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Subtract returns a - b with broadcasting.
func (s *Scope) Subtract(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("subtract", C.mlx_subtract(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Multiply returns a * b elementwise with broadcasting.
func (s *Scope) Multiply(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("multiply", C.mlx_multiply(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Divide returns a / b elementwise with broadcasting.
func (s *Scope) Divide(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("divide", C.mlx_divide(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Power returns a to the power of b elementwise with broadcasting.
func (s *Scope) Power(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("power", C.mlx_power(&out, a.c(), b.c(), s.stream), out, a, b)
}

// LogicalAnd returns a and b elementwise with broadcasting.
func (s *Scope) LogicalAnd(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("logical_and", C.mlx_logical_and(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Less returns a < b elementwise with broadcasting, as bool.
func (s *Scope) Less(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("less", C.mlx_less(&out, a.c(), b.c(), s.stream), out, a, b)
}

// GreaterEqual returns a >= b elementwise with broadcasting, as bool.
func (s *Scope) GreaterEqual(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("greater_equal", C.mlx_greater_equal(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Where returns x where condition holds and y elsewhere, with broadcasting.
func (s *Scope) Where(condition, x, y Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("where", C.mlx_where(&out, condition.c(), x.c(), y.c(), s.stream), out, condition, x, y)
}

// MatMul returns the matrix product over the last two axes, broadcasting the others.
func (s *Scope) MatMul(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("matmul", C.mlx_matmul(&out, a.c(), b.c(), s.stream), out, a, b)
}

// AddMM returns c + a @ b in one operation.
func (s *Scope) AddMM(c, a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("addmm", C.mlx_addmm(&out, c.c(), a.c(), b.c(), 1, 1, s.stream), out, c, a, b)
}

// Sigmoid returns 1 / (1 + exp(-a)) elementwise.
func (s *Scope) Sigmoid(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("sigmoid", C.mlx_sigmoid(&out, a.c(), s.stream), out, a)
}

// Exp returns e to the power of a elementwise.
func (s *Scope) Exp(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("exp", C.mlx_exp(&out, a.c(), s.stream), out, a)
}

// Negative returns -a.
func (s *Scope) Negative(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("negative", C.mlx_negative(&out, a.c(), s.stream), out, a)
}

// AsType casts to dtype; a itself if it already has it.
func (s *Scope) AsType(a Array, dtype DType) Array {
	if s.err != nil {
		return Array{}
	}
	if a.DType() == dtype {
		return a
	}
	var out C.mlx_array
	return s.own("astype", C.mlx_astype(&out, a.c(), C.mlx_dtype(dtype), s.stream), out, a)
}

// Contiguous returns a in row-major layout, copying only if it is not.
func (s *Scope) Contiguous(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("contiguous", C.mlx_contiguous(&out, a.c(), false, s.stream), out, a)
}

// Reshape gives a the shape; one dimension may be -1.
func (s *Scope) Reshape(a Array, shape ...int) Array {
	if s.err != nil {
		return Array{}
	}
	dims := ints(shape)
	var out C.mlx_array
	rc := C.mlx_reshape(&out, a.c(), &dims[0], C.size_t(len(shape)), s.stream)
	op := "reshape"
	if rc != 0 {
		op = fmt.Sprintf("reshape to %v", shape)
	}
	return s.own(op, rc, out, a)
}

// Transpose permutes the axes.
func (s *Scope) Transpose(a Array, axes ...int) Array {
	if s.err != nil {
		return Array{}
	}
	dims := ints(axes)
	var out C.mlx_array
	rc := C.mlx_transpose_axes(&out, a.c(), &dims[0], C.size_t(len(axes)), s.stream)
	return s.own("transpose", rc, out, a)
}

// Slice returns a[start[0]:stop[0], start[1]:stop[1], ...] with steps of one.
func (s *Scope) Slice(a Array, start, stop []int) Array {
	if s.err != nil {
		return Array{}
	}
	from, to := ints(start), ints(stop)
	var out C.mlx_array
	rc := C.mlx_slice(&out, a.c(), &from[0], C.size_t(len(start)), &to[0], C.size_t(len(stop)), &unitStrides[0], C.size_t(len(start)), s.stream)
	return s.own("slice", rc, out, a)
}

// SliceAxis returns a[..., start:stop, ...] along one axis; negative axes count from the end.
func (s *Scope) SliceAxis(a Array, axis, start, stop int) Array {
	if s.err != nil {
		return Array{}
	}
	if a.IsNull() {
		s.fail("slice", a)
		return Array{}
	}
	if axis < 0 {
		axis += a.NDim()
	}
	from, to := make([]int, a.NDim()), a.Shape()
	from[axis], to[axis] = start, stop
	return s.Slice(a, from, to)
}

// SliceUpdate returns a with update written at [start, stop). If nothing else holds a when it
// is evaluated, the buffer is reused.
func (s *Scope) SliceUpdate(a, update Array, start, stop []int) Array {
	if s.err != nil {
		return Array{}
	}
	from, to := ints(start), ints(stop)
	var out C.mlx_array
	rc := C.mlx_slice_update(&out, a.c(), update.c(), &from[0], C.size_t(len(start)), &to[0], C.size_t(len(stop)), &unitStrides[0], C.size_t(len(start)), s.stream)
	return s.own("slice_update", rc, out, a, update)
}

// ScatterRows returns a, [n, heads, length, dim], with updates, [m, heads, 1, dim], written at
// positions[i] of row rows[i] (int32 [m] each, no pair twice). If nothing else holds a when it is
// evaluated, the buffer is reused.
func (s *Scope) ScatterRows(a, rows, positions, updates Array) Array {
	if s.err != nil {
		return Array{}
	}
	if updates.IsNull() || updates.NDim() != 4 {
		s.fail("scatter_rows", a, updates)
		return Array{}
	}
	updates = s.Reshape(updates, updates.Dim(0), 1, updates.Dim(1), 1, updates.Dim(3))
	if s.err != nil {
		return Array{}
	}
	indices := [2]C.mlx_array{rows.c(), positions.c()}
	axes := [2]C.int{0, 2}
	var out C.mlx_array
	rc := C.bridge_scatter(&out, a.c(), &indices[0], &axes[0], C.size_t(len(indices)), updates.c(), s.stream)
	return s.own("scatter", rc, out, a, rows, positions, updates)
}

// Concatenate joins arrays along an axis.
func (s *Scope) Concatenate(axis int, parts ...Array) Array {
	if s.err != nil {
		return Array{}
	}
	handles := make([]C.mlx_array, len(parts))
	for i, p := range parts {
		handles[i] = p.c()
	}
	var out C.mlx_array
	rc := C.bridge_concatenate(&out, unsafe.SliceData(handles), C.size_t(len(handles)), C.int(axis), s.stream)
	return s.own("concatenate", rc, out, parts...)
}

// Zeros returns an array of zeros.
func (s *Scope) Zeros(dtype DType, shape ...int) Array {
	if s.err != nil {
		return Array{}
	}
	dims := ints(shape)
	var out C.mlx_array
	return s.own("zeros", C.mlx_zeros(&out, &dims[0], C.size_t(len(shape)), C.mlx_dtype(dtype), s.stream), out)
}

// Arange returns start, start+step, ... below stop.
func (s *Scope) Arange(start, stop, step float64, dtype DType) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("arange", C.mlx_arange(&out, C.double(start), C.double(stop), C.double(step), C.mlx_dtype(dtype), s.stream), out)
}

// Sum adds the elements along an axis.
func (s *Scope) Sum(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("sum", C.mlx_sum_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// Take gathers rows of a along an axis: the result has indices' shape in place of the axis.
func (s *Scope) Take(a, indices Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("take", C.mlx_take_axis(&out, a.c(), indices.c(), C.int(axis), s.stream), out, a, indices)
}

// TakeAlongAxis picks elements of a by indices of a's rank.
func (s *Scope) TakeAlongAxis(a, indices Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("take_along_axis", C.mlx_take_along_axis(&out, a.c(), indices.c(), C.int(axis), s.stream), out, a, indices)
}

// PutAlongAxis returns a with values written at indices of a's rank.
func (s *Scope) PutAlongAxis(a, indices, values Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("put_along_axis", C.mlx_put_along_axis(&out, a.c(), indices.c(), values.c(), C.int(axis), s.stream), out, a, indices, values)
}

// ArgMax returns the index of the largest element along an axis, lowest index on ties, uint32.
func (s *Scope) ArgMax(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("argmax", C.mlx_argmax_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// Max returns the largest element along an axis.
func (s *Scope) Max(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("max", C.mlx_max_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// LogSumExp returns log(sum(exp(a))) along an axis.
func (s *Scope) LogSumExp(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("logsumexp", C.mlx_logsumexp_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// Sort sorts ascending along an axis.
func (s *Scope) Sort(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("sort", C.mlx_sort_axis(&out, a.c(), C.int(axis), s.stream), out, a)
}

// ArgSort returns the indices that sort ascending along an axis.
func (s *Scope) ArgSort(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("argsort", C.mlx_argsort_axis(&out, a.c(), C.int(axis), s.stream), out, a)
}

// ArgPartition returns indices that put the kth smallest element in place, smaller ones before.
func (s *Scope) ArgPartition(a Array, kth, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("argpartition", C.mlx_argpartition_axis(&out, a.c(), C.int(kth), C.int(axis), s.stream), out, a)
}

// CumSum returns the inclusive running sum along an axis.
func (s *Scope) CumSum(a Array, axis int, reverse bool) Array {
	return s.cumSum(a, axis, reverse, true)
}

// ExclusiveCumSum returns the running sum of the elements strictly before (after, if reverse).
func (s *Scope) ExclusiveCumSum(a Array, axis int, reverse bool) Array {
	return s.cumSum(a, axis, reverse, false)
}

func (s *Scope) cumSum(a Array, axis int, reverse, inclusive bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	rc := C.mlx_cumsum_axis(&out, a.c(), C.int(axis), C.bool(reverse), C.bool(inclusive), C.mlx_optional_dtype{}, s.stream)
	return s.own("cumsum", rc, out, a)
}

// Categorical samples indices along an axis from unnormalised log-probabilities with an
// explicit random key (uint32[2]).
func (s *Scope) Categorical(logits Array, axis int, key Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("categorical", C.mlx_random_categorical(&out, logits.c(), C.int(axis), key.c(), s.stream), out, logits, key)
}

// RandomNormal returns normally distributed float32 values for tests and probes.
func (s *Scope) RandomNormal(key Array, shape ...int) Array {
	if s.err != nil {
		return Array{}
	}
	dims := ints(shape)
	var out C.mlx_array
	rc := C.mlx_random_normal(&out, &dims[0], C.size_t(len(shape)), C.MLX_FLOAT32, 0, 1, key.c(), s.stream)
	return s.own("random_normal", rc, out, key)
}

const maxDims = 8

var unitStrides = [maxDims]C.int{1, 1, 1, 1, 1, 1, 1, 1}

// ints converts to C without a heap allocation. MLX arrays here have at most maxDims axes.
func ints(values []int) (out [maxDims]C.int) {
	for i, v := range values {
		out[i] = C.int(v)
	}
	return out
}
