package load

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
)

// halves are float16 numbers that exercise the decoder: 1.5, -0.25, a subnormal, 6e-5, 2.
var halves = []uint16{0x3e00, 0xb400, 0x0155, 0x03ef, 0x4000}

// block makes one block of 32 elements of each format from a counter, and its elements.
func block(typ gguf.TensorType, n int) (data []byte, want [32]float32) {
	d, m := halves[n%len(halves)], halves[(n+1)%len(halves)]
	half := func(h uint16) float32 { return float16(binary.LittleEndian.AppendUint16(nil, h)) }
	data = binary.LittleEndian.AppendUint16(data, d)
	quant := func(i int) int { return (i*7 + n*3) % 16 }
	switch typ {
	case gguf.Q8_0:
		for i := range want {
			q := int8((i*37 + n*11) % 255)
			data = append(data, byte(q))
			want[i] = half(d) * float32(q)
		}
		return data, want
	case gguf.Q4_1:
		data = binary.LittleEndian.AppendUint16(data, m)
		for i := range want {
			want[i] = half(d)*float32(quant(i)) + half(m)
		}
	case gguf.Q4_0:
		for i := range want {
			want[i] = half(d) * float32(quant(i)-8)
		}
	}
	for j := range 16 {
		data = append(data, byte(quant(j)|quant(j+16)<<4))
	}
	return data, want
}

func matrix(t *testing.T, typ gguf.TensorType, rows, columns int) (ggufTensor, []float32) {
	var data []byte
	var want []float32
	for n := range rows * columns / 32 {
		b, w := block(typ, n)
		data = append(data, b...)
		want = append(want, w[:]...)
	}
	return tensorOf(t, typ, rows, columns, data), want
}

// tensorOf goes through a file, since only a file makes a gguf.Tensor with data.
func tensorOf(t *testing.T, typ gguf.TensorType, rows, columns int, data []byte) ggufTensor {
	t.Helper()
	f, err := gguf.Open(gguftest.New().Tensor("m", typ, []uint64{uint64(columns), uint64(rows)}, data).WriteFile(t, "m.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tensor, _ := f.Tensor("m")
	return ggufTensor{Tensor: tensor, file: f, name: "m", part: "weight"}
}

func filled(t *testing.T, a Array) []byte {
	t.Helper()
	dst := make([]byte, a.Size())
	if err := a.Fill(dst); err != nil {
		t.Error(err)
	}
	return dst
}

func TestBlocksEqualTheirDefinitionAndMLX(t *testing.T) {
	for _, typ := range []gguf.TensorType{gguf.Q4_0, gguf.Q4_1, gguf.Q8_0} {
		const rows, columns = 6, 64
		tensor, want := matrix(t, typ, rows, columns)
		dense := filled(t, tensor.arrays(true)[0])
		for i, w := range want {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(dense[4*i:])); got != w {
				t.Fatalf("%s: element %d expands to %g, want %g", typ, i, got, w)
			}
		}
		parts := tensor.arrays(false)
		mlxtest.Run(t, func(stream mlx.Stream) error {
			got, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				spec := blockFormats[typ].quant
				on := func(a Array) mlx.Array { return s.FromBytes(filled(t, a), a.DType, a.Shape...) }
				return s.Dequantize(mlx.Quantized{
					Weight:    on(parts[0]),
					Scales:    s.AsType(on(parts[1]), mlx.Float32),
					Biases:    s.AsType(on(parts[2]), mlx.Float32),
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

func TestRowsOfQAndKAreUnpermuted(t *testing.T) {
	const rows, heads = 8, 2 // head_dim 4: halves (0,1) and (2,3)
	var data []byte
	for r := range rows {
		for range 2 {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r)))
		}
	}
	tensor := tensorOf(t, gguf.F32, rows, 2, data)
	tensor.heads = heads
	out := filled(t, tensor.arrays(false)[0])
	var got []float32
	for r := range rows {
		got = append(got, math.Float32frombits(binary.LittleEndian.Uint32(out[8*r:])))
	}
	if want := []float32{0, 2, 1, 3, 4, 6, 5, 7}; !slices.Equal(got, want) {
		t.Errorf("rows come from %v, want %v", got, want)
	}
}

func TestTimesPowerOfTwo(t *testing.T) {
	decode := func(h uint16) float64 { return float64(float16(binary.LittleEndian.AppendUint16(nil, h))) }
	for h := range 1 << 16 {
		for _, n := range []int{3, 7} {
			want := decode(uint16(h)) * float64(int(1)<<n)
			got := decode(timesPowerOfTwo(uint16(h), n))
			if math.Abs(want) > 65504 {
				want = math.Copysign(math.Inf(1), want)
			}
			if got != want && !(math.IsNaN(got) && math.IsNaN(decode(uint16(h)))) {
				t.Fatalf("%#04x × 2^%d is %g, want %g", h, n, got, want)
			}
		}
	}
}

// tinyGGUF is a complete llama model of one layer with a 32-wide hidden state.
func tinyGGUF(change func(*gguftest.Builder)) *gguftest.Builder {
	b := gguftest.New()
	b.Set("general.architecture", "llama").
		Set("llama.embedding_length", uint32(32)).Set("llama.block_count", uint32(1)).
		Set("llama.feed_forward_length", uint32(32)).Set("llama.attention.head_count", uint32(2)).
		Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5)).Set("llama.context_length", uint32(64))
	if change != nil {
		change(b)
	}
	dense := make([]byte, 32*32*4)
	for _, name := range []string{"token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output", "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.ffn_down"} {
		b.Tensor(name+".weight", gguf.F32, []uint64{32, 32}, dense)
	}
	for _, name := range []string{"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"} {
		b.Tensor(name+".weight", gguf.F32, []uint64{32}, dense[:32*4])
	}
	return b
}

func TestGGUFConfigAndNames(t *testing.T) {
	path := tinyGGUF(func(b *gguftest.Builder) {
		b.Set("llama.rope.scaling.type", "linear").Set("llama.rope.scaling.factor", float32(2)).
			Set("llama.rope.freq_base", float32(500000))
	}).WriteFile(t, "m.gguf")
	checkpoint, err := Open(path, anyModel)
	if err != nil {
		t.Fatal(err)
	}
	defer checkpoint.Close()
	var c hfConfig
	if err := checkpoint.Config().Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.HiddenSize != 32 || c.NumKeyValueHeads != 2 || c.HeadDim != 16 || c.VocabSize != 32 || !c.TieWordEmbeddings ||
		c.RopeTheta != 500000 || c.RopeScaling["factor"] != 2.0 || checkpoint.Config().MaxLength != 64 {
		t.Errorf("configuration: %+v", c)
	}
	var names []string
	for _, a := range checkpoint.Arrays(false) {
		names = append(names, a.Name)
	}
	if !slices.Contains(names, "model.layers.0.self_attn.o_proj.weight") || !slices.Contains(names, "model.norm.weight") {
		t.Errorf("names: %v", names)
	}
}

func TestGGUFRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*gguftest.Builder)
		says   string
	}{
		"another architecture": {func(b *gguftest.Builder) { *b = *gguftest.New().Set("general.architecture", "rwkv7") }, `unknown architecture "rwkv7"`},
		"missing metadata":     {func(b *gguftest.Builder) { *b = *gguftest.New().Set("general.architecture", "llama") }, `"llama.embedding_length" is missing`},
		"unknown tensor":       {func(b *gguftest.Builder) { b.Tensor("blk.0.attn_sinks.weight", gguf.F32, []uint64{1}, make([]byte, 4)) }, `"blk.0.attn_sinks.weight" is not one of a llama model`},
		"unsupported type":     {func(b *gguftest.Builder) { b.Tensor("output.weight", gguf.IQ2_S, []uint64{256, 1}, make([]byte, 82)) }, `"output.weight" has the unsupported type IQ2_S; accepted: BF16, F16, F32, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0`},
		"experts":              {func(b *gguftest.Builder) { b.Set("llama.expert_count", uint32(8)) }, "mixture of 8 experts"},
		"unknown rope scaling": {func(b *gguftest.Builder) { b.Set("llama.rope.scaling.type", "yarn") }, `rope scaling "yarn"`},
		"partial rope":         {func(b *gguftest.Builder) { b.Set("llama.rope.dimension_count", uint32(8)) }, "rope over 8 of 16"},
	} {
		_, err := Open(tinyGGUF(test.change).WriteFile(t, "m.gguf"), anyModel)
		if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want a ModelLoad fault with %q", name, err, test.says)
		}
	}
}
