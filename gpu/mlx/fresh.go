package mlx

// GNU's dialect, since Clang's headers for macOS define INFINITY in that one only.

/*
#cgo CXXFLAGS: -std=gnu++20 -I${SRCDIR}/../../.deps/mlxc/include -I${SRCDIR}/../../.deps/mlx/mlx/include
#include "fresh.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// SharesMemory reports whether the host can write and read the memory of arrays: NewFresh and
// Elements work. CUDA's allocator moves memory between host and device when it is touched, or has
// it on the device alone; there, NewRef copies.
func (b Backend) SharesMemory() bool { return b != CUDA }

// NewFresh returns an array of arbitrary elements, row-major, and its memory, which the caller
// fills before anything else sees the array. The memory counts as MLX's from now on, and is valid
// until ref is freed. At least one element is needed. It may run on any goroutine.
func NewFresh(dtype DType, shape ...int) (ref *Ref, data []byte, err error) {
	dims, err := cShape(shape)
	if err != nil {
		return nil, nil, err
	}
	size, err := byteSize(dtype, shape)
	if err != nil {
		return nil, nil, err
	}
	// MLX leaves the message of a failure on the calling thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out C.mlx_array
	var memory unsafe.Pointer
	if C.fresh_array(&out, &memory, unsafe.SliceData(dims), C.int(len(dims)), C.mlx_dtype(dtype)) != 0 {
		return nil, nil, newOpError("fresh")
	}
	return &Ref{array: Array(out)}, unsafe.Slice((*byte)(memory), size), nil
}

// Elements returns the memory of an array that is evaluated and row-major without gaps. It must
// not be written to, and is valid as long as the array. It may run on any goroutine.
func Elements(a Array) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var memory unsafe.Pointer
	if C.fresh_elements(&memory, a.c()) != 0 {
		return nil, newOpError("elements", a)
	}
	return unsafe.Slice((*byte)(memory), a.NBytes()), nil
}

// byteSize is the size of an array, which must not be 0 or more than an int holds.
func byteSize(dtype DType, shape []int) (int, error) {
	size := dtype.Size()
	for _, d := range shape {
		if d > 0 && size > int(^uint(0)>>1)/d {
			return 0, fmt.Errorf("mlx: %s%v is too large", dtype, shape)
		}
		size *= d
	}
	if size == 0 {
		return 0, fmt.Errorf("mlx: %s%v has no elements, and at least one is needed", dtype, shape)
	}
	return size, nil
}
