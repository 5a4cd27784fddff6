package load

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"mlx-worker/gpu/mlx"
)

// isNaN is the definition.
func isNaN(x uint32, dtype mlx.DType) bool {
	switch dtype {
	case mlx.BFloat16:
		x <<= 16
	case mlx.Float16:
		return x&0x7c00 == 0x7c00 && x&0x3ff != 0
	}
	return math.IsNaN(float64(math.Float32frombits(x)))
}

func TestFirstNaN(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for dtype, l := range floatLayouts {
		for range 300 {
			n := random.IntN(6000)
			data := make([]byte, n*l.size)
			want := -1
			for i := range n {
				x := random.Uint32()
				for isNaN(x<<(32-8*l.size)>>(32-8*l.size), dtype) {
					x = random.Uint32() // infinities stay
				}
				l.put(data, i, x)
			}
			if n > 0 && random.IntN(3) > 0 {
				want = random.IntN(n)
				for _, nan := range []uint32{0x7fffffff, 0xffff7fff} { // quiet ones of all layouts, with either sign
					l.put(data, want, nan)
				}
			}
			if got := firstNaN(data, dtype); got != want {
				t.Fatalf("%s, %d elements: the first NaN is %d, want %d", dtype, n, got, want)
			}
		}
	}
	if got := firstNaN([]byte{0xff, 0xff, 0xff, 0xff}, mlx.Uint32); got != -1 {
		t.Errorf("integers have a NaN at %d", got)
	}
}

func (l floatLayout) put(data []byte, i int, x uint32) {
	if l.size == 2 {
		binary.LittleEndian.PutUint16(data[2*i:], uint16(x))
		return
	}
	binary.LittleEndian.PutUint32(data[4*i:], x)
}

// Every number of 16 bits, alone.
func TestFirstNaNOfHalves(t *testing.T) {
	for _, dtype := range []mlx.DType{mlx.Float16, mlx.BFloat16} {
		for x := range uint32(1 << 16) {
			data := binary.LittleEndian.AppendUint16(nil, uint16(x))
			if got := firstNaN(data, dtype) == 0; got != isNaN(x, dtype) {
				t.Fatalf("%s %#04x: NaN %t", dtype, x, got)
			}
		}
	}
}

func BenchmarkFirstNaN(b *testing.B) {
	data := make([]byte, 256<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if firstNaN(data, mlx.BFloat16) >= 0 {
			b.Fatal("zeros are numbers")
		}
	}
}
