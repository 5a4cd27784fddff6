package mlx

// #include "bridge.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

func cShape(shape []int) ([]C.int, error) {
	out := make([]C.int, len(shape))
	for i, d := range shape {
		if d < 0 || d > math.MaxInt32 {
			return nil, fmt.Errorf("mlx: dimension %d of shape %v is not in 0..2^31-1", i, shape)
		}
		out[i] = C.int(d)
	}
	return out, nil
}

// FromBytes copies little-endian, row-major data into a new array. It is an error if the
// length of data is not what shape and dtype say.
func (s *Scope) FromBytes(data []byte, dtype DType, shape ...int) Array {
	if s.err != nil {
		return Array{}
	}
	out, err := newData(data, dtype, shape)
	if err != nil {
		s.Fail(err)
		return Array{}
	}
	return s.own("new_data", 0, out)
}

// NewRef is Scope.FromBytes for an array with an owner of its own. It needs no stream and may
// run on any goroutine, so that large copies keep the MLX thread free.
func NewRef(data []byte, dtype DType, shape ...int) (*Ref, error) {
	// MLX leaves the message of a failure on the calling thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := newData(data, dtype, shape)
	if err != nil {
		return nil, err
	}
	return &Ref{array: Array(out)}, nil
}

func newData(data []byte, dtype DType, shape []int) (C.mlx_array, error) {
	dims, err := cShape(shape)
	if err != nil {
		return C.mlx_array{}, err
	}
	want := dtype.Size()
	for _, d := range shape {
		want *= d
	}
	if len(data) != want || want == 0 {
		return C.mlx_array{}, fmt.Errorf("mlx: %d bytes for %s%v, which needs %d (and at least one)", len(data), dtype, shape, want)
	}
	out := C.mlx_array_new_data(unsafe.Pointer(unsafe.SliceData(data)), unsafe.SliceData(dims), C.int(len(dims)), C.mlx_dtype(dtype))
	if out.ctx == nil {
		return out, newOpError("new_data")
	}
	return out, nil
}

// Int32s copies values into a new array of the given shape.
func (s *Scope) Int32s(values []int32, shape ...int) Array {
	return s.FromBytes(bytesOf(values), Int32, shape...)
}

// Uint32s copies values into a new array of the given shape.
func (s *Scope) Uint32s(values []uint32, shape ...int) Array {
	return s.FromBytes(bytesOf(values), Uint32, shape...)
}

// Float32s copies values into a new array of the given shape.
func (s *Scope) Float32s(values []float32, shape ...int) Array {
	return s.FromBytes(bytesOf(values), Float32, shape...)
}

// Scalar returns a zero-dimensional array of the given float dtype.
func (s *Scope) Scalar(value float64, dtype DType) Array {
	if s.err != nil {
		return Array{}
	}
	a := s.own("scalar", 0, C.mlx_array_new_float32(C.float(value)))
	if dtype != Float32 {
		a = s.AsType(a, dtype)
	}
	return a
}

func bytesOf[T int32 | uint32 | float32](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*4)
}

// ReadFloat32s casts to float32, evaluates, waits and returns the elements in row-major order.
func ReadFloat32s(stream Stream, a Array) ([]float32, error) {
	return readAs(stream, a, Float32, func(h C.mlx_array) *float32 { return (*float32)(unsafe.Pointer(C.mlx_array_data_float32(h))) })
}

// ReadInt32s casts to int32, evaluates, waits and returns the elements in row-major order.
func ReadInt32s(stream Stream, a Array) ([]int32, error) {
	return readAs(stream, a, Int32, func(h C.mlx_array) *int32 { return (*int32)(unsafe.Pointer(C.mlx_array_data_int32(h))) })
}

// ReadUint32s casts to uint32, evaluates, waits and returns the elements in row-major order.
func ReadUint32s(stream Stream, a Array) ([]uint32, error) {
	return readAs(stream, a, Uint32, func(h C.mlx_array) *uint32 { return (*uint32)(unsafe.Pointer(C.mlx_array_data_uint32(h))) })
}

// readAs copies straight out of an array that has the dtype and layout already, so that
// reading a finished array does not queue behind work dispatched since.
func readAs[T int32 | uint32 | float32](stream Stream, a Array, dtype DType, data func(C.mlx_array) *T) ([]T, error) {
	if err := Eval(a); err != nil {
		return nil, err
	}
	var rowContiguous C.bool
	if rc := C._mlx_array_is_row_contiguous(&rowContiguous, a.c()); rc != 0 {
		return nil, newOpError("read", a)
	}
	if a.DType() == dtype && bool(rowContiguous) {
		return copyOut(a, data)
	}
	s := NewScope(stream)
	defer s.Close()
	flat := s.Contiguous(s.AsType(a, dtype))
	if s.err != nil {
		return nil, s.err
	}
	if err := Eval(flat); err != nil {
		return nil, err
	}
	return copyOut(flat, data)
}

func copyOut[T int32 | uint32 | float32](a Array, data func(C.mlx_array) *T) ([]T, error) {
	n := a.Size()
	if n == 0 {
		return nil, nil
	}
	p := data(a.c())
	if p == nil {
		return nil, newOpError("read", a)
	}
	out := make([]T, n)
	copy(out, unsafe.Slice(p, n))
	return out, nil
}
