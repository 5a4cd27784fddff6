//go:build !(linux && amd64)

package mlx

import "errors"

var errNoKernels = errors.New("mlx: the operations of the CPU backend are for Linux on x86-64")

func kernelsSupported() bool { return false }

func (s *Scope) none() Array {
	s.Fail(errNoKernels)
	return Array{}
}

func (s *Scope) silu(Array) Array                            { return s.none() }
func (s *Scope) gatedSiLU(Array) Array                       { return s.none() }
func (s *Scope) rmsNorm(Array, Array, float32) Array         { return s.none() }
func (s *Scope) causalSoftmax(Array, float32, int) Array     { return s.none() }
func (s *Scope) attendOne(_, _, _, _ Array, _ float32) Array { return s.none() }
