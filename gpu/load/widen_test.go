package load

import (
	"encoding/binary"
	"math"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// TestWideEqualsMLXsCast compares every 16-bit float with what MLX makes of it, bit for bit.
func TestWideEqualsMLXsCast(t *testing.T) {
	const patterns = 1 << 16
	stored := make([]byte, 2*patterns)
	for i := range patterns {
		binary.LittleEndian.PutUint16(stored[2*i:], uint16(i))
	}
	for _, dtype := range []mlx.DType{mlx.Float16, mlx.BFloat16} {
		a := Array{DType: dtype, Shape: []int{patterns}, Fill: func(dst []byte) error {
			copy(dst, stored)
			return nil
		}}
		wide := make([]byte, 2*len(stored))
		if err := a.FillWide(wide); err != nil {
			t.Fatal(err)
		}
		mlxtest.Run(t, func(stream mlx.Stream) error {
			cast, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				return s.AsType(s.FromBytes(stored, dtype, patterns), mlx.Float32)
			})
			if err != nil {
				return err
			}
			wrong := 0
			for i, v := range cast {
				if got, want := binary.LittleEndian.Uint32(wide[4*i:]), math.Float32bits(v); got != want {
					if wrong++; wrong < 10 {
						t.Errorf("%s %#04x: bits %#08x, MLX has %#08x", dtype, i, got, want)
					}
				}
			}
			return nil
		})
	}
}

// TestWideningKeepsOrder has lengths around what is widened at once.
func TestWideningKeepsOrder(t *testing.T) {
	for n := range 40 {
		a := Array{DType: mlx.BFloat16, Shape: []int{n}, Fill: func(dst []byte) error {
			for i := range n {
				binary.LittleEndian.PutUint16(dst[2*i:], uint16(1000+i))
			}
			return nil
		}}
		wide := make([]byte, 4*n)
		if err := a.FillWide(wide); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got := binary.LittleEndian.Uint32(wide[4*i:]); got != uint32(1000+i)<<16 {
				t.Fatalf("element %d of %d has the bits %#x", i, n, got)
			}
		}
	}
}

func BenchmarkWiden(b *testing.B) {
	for _, dtype := range []mlx.DType{mlx.Float16, mlx.BFloat16} {
		b.Run(dtype.String(), func(b *testing.B) {
			a := Array{DType: dtype, Fill: func([]byte) error { return nil }}
			data := make([]byte, 64<<20)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := a.FillWide(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
