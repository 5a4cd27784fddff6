package mlx

// #include "bridge.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// DType is an element type.
type DType int

// The element types that language models use.
const (
	Bool     DType = C.MLX_BOOL
	Uint8    DType = C.MLX_UINT8
	Uint32   DType = C.MLX_UINT32
	Int32    DType = C.MLX_INT32
	Int64    DType = C.MLX_INT64
	Float16  DType = C.MLX_FLOAT16
	Float32  DType = C.MLX_FLOAT32
	BFloat16 DType = C.MLX_BFLOAT16
)

var dtypeNames = map[DType]string{
	Bool: "bool", Uint8: "uint8", Uint32: "uint32", Int32: "int32", Int64: "int64",
	Float16: "float16", Float32: "float32", BFloat16: "bfloat16",
}

func (d DType) String() string {
	if name, ok := dtypeNames[d]; ok {
		return name
	}
	return fmt.Sprintf("dtype(%d)", int(d))
}

// Size returns the bytes of one element.
func (d DType) Size() int { return int(C.mlx_dtype_size(C.mlx_dtype(d))) }

// IsHalf reports whether d is a 16-bit float.
func (d DType) IsHalf() bool { return d == Float16 || d == BFloat16 }

// IsFloat reports whether d is a float of 16 or 32 bits.
func (d DType) IsFloat() bool { return d.IsHalf() || d == Float32 }

// Array is a handle on a lazy or evaluated n-dimensional array, valid while the Scope or Ref
// it came from is. The zero Array is null, which some operations accept as "absent".
type Array struct{ ctx unsafe.Pointer }

func (a Array) c() C.mlx_array { return C.mlx_array(a) }

// IsNull reports whether a holds no array.
func (a Array) IsNull() bool { return a.ctx == nil }

// NDim returns the number of dimensions; a must not be null.
func (a Array) NDim() int { return int(C.mlx_array_ndim(a.c())) }

// Dim returns the size of a dimension; negative axes count from the end.
func (a Array) Dim(axis int) int {
	if axis < 0 {
		axis += a.NDim()
	}
	return int(C.mlx_array_dim(a.c(), C.int(axis)))
}

// Shape returns the sizes of all dimensions.
func (a Array) Shape() []int {
	n := a.NDim()
	if n == 0 {
		return nil
	}
	shape := make([]int, n)
	for i, d := range unsafe.Slice(C.mlx_array_shape(a.c()), n) {
		shape[i] = int(d)
	}
	return shape
}

// DType returns the element type; a must not be null.
func (a Array) DType() DType { return DType(C.mlx_array_dtype(a.c())) }

// Size returns the number of elements.
func (a Array) Size() int { return int(C.mlx_array_size(a.c())) }

// NBytes returns Size times the bytes of an element.
func (a Array) NBytes() int64 { return int64(C.mlx_array_nbytes(a.c())) }

// describe gives dtype and shape, e.g. float32[1,576].
func (a Array) describe() string {
	if a.IsNull() {
		return "null"
	}
	parts := make([]string, a.NDim())
	for i := range parts {
		parts[i] = fmt.Sprint(a.Dim(i))
	}
	return fmt.Sprintf("%s[%s]", a.DType(), strings.Join(parts, ","))
}

// Ref is an array that outlives scopes. It has one owner, who calls Free.
type Ref struct{ array Array }

// Array returns the current value, valid until the next Set or Free.
func (r *Ref) Array() Array { return r.array }

// Set replaces the value and drops the hold on the old one.
func (r *Ref) Set(s *Scope, value Array) {
	if s.err != nil {
		return
	}
	handle := r.array.c()
	if rc := C.mlx_array_set(&handle, value.c()); rc != 0 {
		s.fail("set", value)
		return
	}
	r.array.ctx = handle.ctx
}

// Free releases the array; a second Free does nothing.
func (r *Ref) Free() {
	if r == nil || r.array.ctx == nil {
		return
	}
	mustFree(C.mlx_array_free(r.array.c()))
	r.array.ctx = nil
}

// mustFree panics if a handle could not be freed: it was not ours or was freed before, which is
// a bug that no caller can handle.
func mustFree(rc C.int) {
	if rc != 0 {
		panic(newOpError("free"))
	}
}

// OpError is a failed MLX operation.
type OpError struct {
	Op      string   // e.g. "matmul"
	Inputs  []string // dtype[shape] of each input
	Message string   // MLX's own words
}

func (e *OpError) Error() string {
	return fmt.Sprintf("mlx: %s(%s): %s", e.Op, strings.Join(e.Inputs, ", "), e.Message)
}

// takeError returns the message that the last failed call on this thread left.
func takeError() string {
	if message := C.GoString(C.bridge_take_error()); message != "" {
		return message
	}
	return "failed without a message"
}

func newOpError(op string, inputs ...Array) *OpError {
	e := &OpError{Op: op, Message: takeError()}
	for _, in := range inputs {
		e.Inputs = append(e.Inputs, in.describe())
	}
	return e
}
