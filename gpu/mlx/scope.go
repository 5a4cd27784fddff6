package mlx

// #include "bridge.h"
import "C"

import (
	"errors"
	"unsafe"
)

// Scope owns the arrays made in it and holds the first error. A Scope belongs to one
// goroutine on the MLX thread.
type Scope struct {
	stream  C.mlx_stream
	kernels bool
	arrays  []C.mlx_array
	err     error
	closed  bool
}

// NewScope opens a scope whose operations run on stream. The caller closes it.
func NewScope(stream Stream) *Scope {
	return &Scope{stream: stream.c, kernels: stream.kernels}
}

// Build runs fn in a fresh scope, closes it, and returns the scope's first error or fn's.
func Build(stream Stream, fn func(s *Scope) error) error {
	s := NewScope(stream)
	defer s.Close()
	if err := fn(s); err != nil {
		return err
	}
	return s.Err()
}

// Err returns the first error of the scope.
func (s *Scope) Err() error { return s.err }

// Fail records err as the scope's error unless one is already there.
func (s *Scope) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Close frees every array made in the scope; a second Close does nothing.
func (s *Scope) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if len(s.arrays) > 0 {
		arrays := s.arrays
		s.arrays = nil
		mustFree(C.bridge_free_arrays(unsafe.SliceData(arrays), C.size_t(len(arrays))))
	}
}

// Keep returns a Ref to a that outlives the scope, or nil and the scope's error.
func (s *Scope) Keep(a Array) (*Ref, error) {
	r := &Ref{}
	if err := s.KeepIn(r, a); err != nil {
		return nil, err
	}
	return r, nil
}

// KeepIn is Keep into a Ref that holds nothing yet.
func (s *Scope) KeepIn(r *Ref, a Array) error {
	if s.err != nil {
		return s.err
	}
	if a.IsNull() {
		return errors.New("mlx: keep of a null array")
	}
	handle := C.mlx_array_new()
	if rc := C.mlx_array_set(&handle, a.c()); rc != 0 {
		return newOpError("keep", a)
	}
	r.array.ctx = handle.ctx
	return nil
}

// own registers an operation's result, or records its failure.
func (s *Scope) own(op string, rc C.int, out C.mlx_array, inputs ...Array) Array {
	if s.closed {
		panic("mlx: " + op + " in a closed scope")
	}
	if rc != 0 || out.ctx == nil {
		s.fail(op, inputs...) // first: freeing may replace MLX's message
		if out.ctx != nil {
			mustFree(C.mlx_array_free(out))
		}
		return Array{}
	}
	s.arrays = append(s.arrays, out)
	return Array(out)
}

func (s *Scope) fail(op string, inputs ...Array) {
	s.Fail(newOpError(op, inputs...))
}

// Eval computes arrays and blocks until they are ready. See the package comment: close the
// scope that built them first.
func Eval(arrays ...Array) error { return eval("eval", false, arrays) }

// AsyncEval starts to compute arrays and returns. A failure that happens later is returned
// by the next call that waits on them.
func AsyncEval(arrays ...Array) error { return eval("async_eval", true, arrays) }

func eval(op string, async bool, arrays []Array) error {
	if len(arrays) == 0 {
		return nil
	}
	handles := make([]C.mlx_array, len(arrays))
	for i, a := range arrays {
		if a.IsNull() {
			return errors.New("mlx: " + op + " of a null array")
		}
		handles[i] = a.c()
	}
	if rc := C.bridge_eval(unsafe.SliceData(handles), C.size_t(len(handles)), C.bool(async)); rc != 0 {
		return newOpError(op, arrays...)
	}
	return nil
}
