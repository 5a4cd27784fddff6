//go:build !(linux && amd64)

package mlx

import "errors"

var errNoKernels = errors.New("mlx: the operations of the CPU backend are for Linux on x86-64; kernels accepted: auto, off")

func chooseKernels(want string) (bool, error) {
	if want == "" || want == "auto" || want == "off" {
		return false, nil
	}
	return false, errNoKernels
}

func (s *Scope) none() Array {
	s.Fail(errNoKernels)
	return Array{}
}

func (s *Scope) silu(Array) Array                            { return s.none() }
func (s *Scope) gatedSiLU(Array) Array                       { return s.none() }
func (s *Scope) rmsNorm(Array, Array, float32) Array         { return s.none() }
func (s *Scope) causalSoftmax(Array, float32, int) Array     { return s.none() }
func (s *Scope) quantizedMatMul(Array, Quantized) Array      { return s.none() }
func (s *Scope) gatherQMM(Array, Quantized, Array) Array     { return s.none() }
func (s *Scope) add(_, _ Array) Array                        { return s.none() }
func (s *Scope) rope(Array, RoPE, int, Array) Array          { return s.none() }
func (s *Scope) attendOne(_, _, _, _ Array, _ float32) Array { return s.none() }
