package load

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
	"mlx-worker/internal/gguf"
)

// references dequantise a block as the format's definition runs through it, byte by byte.
var references = map[gguf.TensorType]func(b []byte) []float32{
	gguf.Q5_0: func(b []byte) []float32 {
		return referenceFives(b[2:6], b[6:], func(q int) float32 { return float16(b) * float32(q-16) })
	},
	gguf.Q5_1: func(b []byte) []float32 {
		return referenceFives(b[4:8], b[8:], func(q int) float32 { return float16(b)*float32(q) + float16(b[2:]) })
	},
	gguf.Q4_K: func(b []byte) (y []float32) {
		for pair := range 4 {
			for half := range 2 {
				for l := range 32 {
					q := int(b[16+32*pair+l])
					y = append(y, referenceK(b, 2*pair+half, q>>(4*half)&15))
				}
			}
		}
		return y
	},
	gguf.Q5_K: func(b []byte) (y []float32) {
		for pair := range 4 {
			for half := range 2 {
				for l := range 32 {
					q := int(b[48+32*pair+l]) >> (4 * half) & 15
					if b[16+l]&(1<<(2*pair+half)) != 0 {
						q += 16
					}
					y = append(y, referenceK(b, 2*pair+half, q))
				}
			}
		}
		return y
	},
	gguf.Q2_K: func(b []byte) (y []float32) {
		next := 0
		for n := 0; n < 256; n += 128 {
			for shift := 0; shift < 8; shift += 2 {
				for from := 0; from < 32; from += 16 {
					s := int(b[next])
					next++
					for l := range 16 {
						q := int(b[16+n/4+from+l]) >> shift & 3
						y = append(y, float16(b[80:])*float32(s&15)*float32(q)-float16(b[82:])*float32(s>>4))
					}
				}
			}
		}
		return y
	},
	gguf.Q3_K: func(b []byte) (y []float32) {
		word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[96+4*i:]) }
		const low, two = 0x0f0f0f0f, 0x03030303
		a, c, high := word(0), word(1), word(2)
		var scales []byte
		for _, w := range []uint32{a&low | high&two<<4, c&low | high>>2&two<<4, a>>4&low | high>>4&two<<4, c>>4&low | high>>6&two<<4} {
			scales = binary.LittleEndian.AppendUint32(scales, w)
		}
		next, mask := 0, byte(1)
		for n := 0; n < 256; n += 128 {
			for shift := 0; shift < 8; shift += 2 {
				for from := 0; from < 32; from += 16 {
					dl := float16(b[108:]) * float32(int(scales[next])-32)
					next++
					for l := range 16 {
						q := int(b[32+n/4+from+l]) >> shift & 3
						if b[from+l]&mask == 0 {
							q -= 4
						}
						y = append(y, dl*float32(q))
					}
				}
				mask <<= 1
			}
		}
		return y
	},
	gguf.Q6_K: func(b []byte) []float32 {
		y := make([]float32, 256)
		d := float16(b[208:])
		for n := range 2 {
			ql, qh, sc := b[64*n:], b[128+32*n:], b[192+8*n:]
			for l := range 32 {
				for i, q := range []byte{ql[l]&15 | qh[l]&3<<4, ql[l+32]&15 | qh[l]>>2&3<<4, ql[l]>>4 | qh[l]>>4&3<<4, ql[l+32]>>4 | qh[l]>>6&3<<4} {
					y[128*n+32*i+l] = d * float32(int8(sc[l/16+2*i])) * float32(int8(q)-32)
				}
			}
		}
		return y
	},
}

func referenceFives(high, low []byte, value func(q int) float32) []float32 {
	y := make([]float32, 32)
	bits := binary.LittleEndian.Uint32(high)
	for j := range 16 {
		y[j] = value(int(low[j]&15) + int(bits>>j&1)*16)
		y[j+16] = value(int(low[j]>>4) + int(bits>>(j+16)&1)*16)
	}
	return y
}

// referenceK is quant q of group i of a Q4_K or Q5_K block.
func referenceK(b []byte, i, q int) float32 {
	packed := b[4:16]
	s, m := int(packed[i]&63), 0
	if i < 4 {
		m = int(packed[i+4] & 63)
	} else {
		s = int(packed[i+4]&15) + int(packed[i-4]>>6)*16
		m = int(packed[i+4]>>4) + int(packed[i]>>6)*16
	}
	return float16(b)*float32(s)*float32(q) - float16(b[2:])*float32(m)
}

// randomMatrix makes blocks of random bytes with finite float16 numbers.
func randomMatrix(t *testing.T, typ gguf.TensorType, rows, columns int) (tensor ggufTensor, want []float32) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(typ), 1))
	f := blockFormats[typ]
	var data []byte
	for range rows * columns / f.elements {
		block := make([]byte, f.blockBytes)
		for i := range block {
			block[i] = byte(random.Uint32())
		}
		for _, at := range f.halves {
			block[at+1] &= 0xbf // an exponent below 16
		}
		data = append(data, block...)
		want = append(want, references[typ](block)...)
	}
	return tensorOf(t, typ, rows, columns, data), want
}

func TestLargeBlocksEqualTheirDefinition(t *testing.T) {
	for typ := range references {
		tensor, want := randomMatrix(t, typ, 5, 512)
		dense := filled(t, tensor.arrays(true)[0])
		for i, w := range want {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(dense[4*i:])); got != w {
				t.Fatalf("%s: element %d expands to %g, want %g", typ, i, got, w)
			}
		}
	}
}

func TestLargeBlocksEqualMLX(t *testing.T) {
	for typ := range references {
		spec := blockFormats[typ].quant
		if spec == nil {
			continue // dense, whatever is asked for
		}
		tensor, want := randomMatrix(t, typ, 5, 512)
		parts := tensor.arrays(false)
		mlxtest.Run(t, func(stream mlx.Stream) error {
			got, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				on := func(a Array) mlx.Array { return s.FromBytes(filled(t, a), a.DType, a.Shape...) }
				return s.Dequantize(mlx.Quantized{
					Weight: on(parts[0]), Scales: s.AsType(on(parts[1]), mlx.Float32), Biases: s.AsType(on(parts[2]), mlx.Float32),
					GroupSize: spec.GroupSize, Bits: spec.Bits, Mode: spec.Mode,
				})
			})
			if err != nil {
				return err
			}
			for i, w := range want {
				if got[i] != w {
					return fmt.Errorf("%s: element %d dequantises to %g in MLX, want %g", typ, i, got[i], w)
				}
			}
			return nil
		})
	}
}

func TestDamagedScalesAreNamed(t *testing.T) {
	for typ, f := range blockFormats {
		if f.expand == nil {
			continue
		}
		for _, at := range f.halves {
			data := make([]byte, 4*f.blockBytes*max(1, 256/f.elements))
			last := data[len(data)-f.blockBytes:]
			last[at], last[at+1] = 1, 0x7c // a NaN
			tensor := tensorOf(t, typ, 4, max(f.elements, 256), data)
			for _, dense := range []bool{false, true} {
				a := tensor.arrays(dense)[0]
				err := a.Fill(make([]byte, a.Size()))
				if err == nil || !strings.Contains(err.Error(), `m.gguf: tensor "m"`) {
					t.Errorf("%s, byte %d, dense %t: %v", typ, at, dense, err)
				}
			}
		}
	}
}
