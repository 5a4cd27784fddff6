package mlx_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
)

// quantizedProduct is of random x, [rows, in], and a random quantised matrix, [out, in].
func quantizedProduct(s *mlx.Scope, rows, most, in, out, group, bits int) mlx.Array {
	x := s.Slice(s.RandomNormal(s.RandomKey(11, 0), most, in), []int{0, 0}, []int{rows, in})
	w := s.Quantize(s.RandomNormal(s.RandomKey(12, 0), out, in), group, bits, mlx.Affine)
	if s.Err() == nil && s.MultipliesQuantized(x, w) != s.Kernels() {
		s.Fail(fmt.Errorf("%d bits in groups of %d: kernels %v", bits, group, s.Kernels()))
	}
	return s.QuantizedMatMul(x, w)
}

func TestQuantizedKernelEqualsMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			for _, rows := range []int{1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 100} {
				in, out := group*(1+r.IntN(6)), 1+r.IntN(150)
				own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
					return quantizedProduct(s, rows, rows, in, out, group, bits)
				})
				expectClose(t, fmt.Sprintf("%d rows, %d to %d, %d bits in groups of %d", rows, in, out, bits, group), own, plain)
			}
		}
	}
}

// TestQuantizedRowsDoNotDependOnTheRowsBesideThem is TestRowsDoNotDependOnTheRowsBesideThem for
// quantised matrices.
func TestQuantizedRowsDoNotDependOnTheRowsBesideThem(t *testing.T) {
	needKernels(t)
	const most = 32 // qmm_same_rows
	for _, bits := range []int{3, 4, 8} {
		for _, shape := range []struct{ in, out int }{{576, 193}, {64, 5}, {1536, 64}} {
			together := floats(t, func(s *mlx.Scope) mlx.Array { return quantizedProduct(s, most, most, shape.in, shape.out, 32, bits) })
			for rows := 1; rows < most; rows++ {
				alone := floats(t, func(s *mlx.Scope) mlx.Array { return quantizedProduct(s, rows, most, shape.in, shape.out, 32, bits) })
				if !sameBits(alone, together[:rows*shape.out]) {
					t.Errorf("%v, %d bits: %d rows alone differ from the first of %d", shape, bits, rows, most)
				}
			}
		}
	}
}

// TestProductsDoWhatComesBeforeAndAfter: a product that normalises its input, adds to its output
// or gates it gives what the operations one by one give, bit for bit up to qmm_same_rows.
func TestProductsDoWhatComesBeforeAndAfter(t *testing.T) {
	needKernels(t)
	apart := func(s *mlx.Scope, x mlx.Array) mlx.Array { // computed, so that nothing joins it
		if err := mlx.Eval(x); s.Err() == nil && err != nil {
			s.Fail(err)
		}
		return x
	}
	joined := func(_ *mlx.Scope, x mlx.Array) mlx.Array { return x }
	for _, bits := range []int{4, 6} {
		for _, rows := range []int{1, 5, 32, 40} {
			const in, out = 192, 110
			build := func(between func(*mlx.Scope, mlx.Array) mlx.Array) func(s *mlx.Scope) mlx.Array {
				return func(s *mlx.Scope) mlx.Array {
					random := func(i uint64, shape ...int) mlx.Array { return s.RandomNormal(s.RandomKey(31, i), shape...) }
					matrix := func(i uint64, in, out int) mlx.Quantized {
						return s.Quantize(random(i, out, in), 64, bits, mlx.Affine)
					}
					x := random(0, 1, rows, in)
					normed := between(s, s.RMSNorm(x, random(1, in), 1e-5))
					gateUp := between(s, s.QuantizedMatMul(normed, matrix(2, in, 2*out)))
					gated := s.GatedSiLU(gateUp)
					plain := between(s, s.QuantizedMatMul(between(s, s.RMSNorm(x, mlx.Array{}, 1e-6)), matrix(3, in, out)))
					down := between(s, s.QuantizedMatMul(s.SliceAxis(x, -1, 0, 64), matrix(4, 64, out)))
					return s.Concatenate(-1, gated, s.Add(plain, random(5, out)), s.Add(random(6, 1, rows, out), down))
				}
			}
			got, want := floats(t, build(joined)), floats(t, build(apart))
			expectClose(t, fmt.Sprintf("%d rows, %d bits", rows, bits), got, want)
			if rows <= 32 && !sameBits(got, want) {
				t.Errorf("%d rows, %d bits: what is joined differs from what is computed one by one", rows, bits)
			}
		}
	}
}

func TestGatheredKernelEqualsMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for i := range 60 {
		experts, choices, tokens := 1+r.IntN(7), 1+r.IntN(3), 1+r.IntN(20)
		bits, group := []int{2, 3, 4, 5, 6, 8}[i%6], []int{32, 64, 128}[r.IntN(3)]
		in, out := group*(1+r.IntN(3)), 1+r.IntN(300)
		named := make([]uint32, tokens*choices)
		for j := range named {
			named[j] = uint32(r.IntN(experts))
		}
		sorted := i%3 == 0
		if sorted {
			slices.Sort(named)
		}
		own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
			w := s.Quantize(s.RandomNormal(s.RandomKey(43, uint64(i)), experts, out, in), group, bits, mlx.Affine)
			if sorted {
				x := s.RandomNormal(s.RandomKey(44, uint64(i)), tokens*choices, 1, in)
				return s.GatherQMM(x, w, s.Uint32s(named, tokens*choices), true)
			}
			each := 1 // a row for all choices of a token, or for each
			if i%2 == 0 {
				each = choices
			}
			x := s.RandomNormal(s.RandomKey(44, uint64(i)), 1, tokens, each, 1, in)
			return s.GatherQMM(x, w, s.Uint32s(named, 1, tokens, choices), false)
		})
		expectClose(t, fmt.Sprintf("%d tokens, %d of %d experts, %d to %d, %d bits in groups of %d", tokens, choices, experts, in, out, bits, group), own, plain)
	}
}

// TestQuantizedKernelTakesHalfScales: scales of 16 bits give what the same numbers in float32 give.
func TestQuantizedKernelTakesHalfScales(t *testing.T) {
	needKernels(t)
	for _, dtype := range []mlx.DType{mlx.Float16, mlx.BFloat16} {
		for _, bits := range []int{3, 4, 8} {
			for _, rows := range []int{1, 6, 40} {
				product := func(half bool) []float32 {
					return floats(t, func(s *mlx.Scope) mlx.Array {
						x := s.RandomNormal(s.RandomKey(51, 0), rows, 128)
						w := s.Quantize(s.RandomNormal(s.RandomKey(52, 0), 70, 128), 32, bits, mlx.Affine)
						w.Scales, w.Biases = s.AsType(w.Scales, dtype), s.AsType(w.Biases, dtype)
						if !half {
							w.Scales, w.Biases = s.AsType(w.Scales, mlx.Float32), s.AsType(w.Biases, mlx.Float32)
						}
						if s.Err() == nil && !s.MultipliesQuantized(x, w) {
							s.Fail(fmt.Errorf("%v: no kernel", dtype))
						}
						return s.QuantizedMatMul(x, w)
					})
				}
				if !sameBits(product(true), product(false)) {
					t.Errorf("%v scales, %d bits, %d rows: differs from the same numbers in float32", dtype, bits, rows)
				}
			}
		}
	}
}
