package mlx_test

import (
	"math"
	"testing"

	"golang.org/x/sys/cpu"

	"mlx-worker/gpu/mlx"
)

// TestRowsDoNotDependOnTheRowsBesideThem: what decodes in a batch is what decodes alone, bit for
// bit, up to the number of rows that share a kernel.
func TestRowsDoNotDependOnTheRowsBesideThem(t *testing.T) {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		t.Skip("this processor lacks AVX2 or FMA, so products are OpenBLAS's, which promises no such thing")
	}
	const most = 32 // few_rows_most
	for _, shape := range []struct{ in, out int }{{576, 960}, {1536, 576}, {64, 5}, {7, 13}, {1, 1}, {131, 258}} {
		product := func(rows int, bias bool) []float32 {
			return floats(t, func(s *mlx.Scope) mlx.Array {
				x := s.Slice(s.RandomNormal(s.RandomKey(1, 0), most+1, shape.in), []int{0, 0}, []int{rows, shape.in})
				w := s.Transpose(s.RandomNormal(s.RandomKey(2, 0), shape.out, shape.in), 1, 0)
				if bias {
					return s.AddMM(s.RandomNormal(s.RandomKey(3, 0), shape.out), x, w)
				}
				return s.MatMul(x, w)
			})
		}
		for _, bias := range []bool{false, true} {
			together := product(most, bias)
			for rows := range most {
				if !sameBits(product(rows+1, bias), together[:(rows+1)*shape.out]) {
					t.Errorf("%v, bias %v: %d rows alone differ from the first of %d", shape, bias, rows+1, most)
				}
			}
			for i, v := range product(most+1, bias)[:most*shape.out] { // another kernel
				if off := math.Abs(float64(v - together[i])); off > 1e-4 {
					t.Fatalf("%v, bias %v: element %d differs by %g from a product of more rows", shape, bias, i, off)
				}
			}
		}
	}
}
