package gpu_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
)

// heads are d = 2^-11 and an m that makes the elements' mean 0.
var heads = map[gguf.TensorType][]byte{gguf.Q4_K: {0, 0x10, 0x80, 0x1b}, gguf.Q5_K: {0, 0x10, 0xc0, 0x1f}}

// writeKQuants writes a llama of one layer whose matrices are random blocks of the type.
func writeKQuants(t *testing.T, typ gguf.TensorType) string {
	t.Helper()
	const hidden = 256
	random := rand.New(rand.NewPCG(uint64(typ), 1))
	b := gguftest.New().Set("general.architecture", "llama").
		Set("llama.embedding_length", uint32(hidden)).Set("llama.block_count", uint32(1)).
		Set("llama.feed_forward_length", uint32(hidden)).Set("llama.attention.head_count", uint32(4)).
		Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5)).Set("llama.context_length", uint32(64))
	_, size, _ := typ.Block()
	for _, name := range []string{"token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output", "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.ffn_down", "output"} {
		data := make([]byte, hidden*size)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		for at := 0; at < len(data); at += size {
			copy(data[at:], heads[typ])
		}
		b.Tensor(name+".weight", typ, []uint64{hidden, hidden}, data)
	}
	ones := make([]float32, hidden)
	for i := range ones {
		ones[i] = 1
	}
	for _, name := range []string{"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"} {
		b.Tensor(name+".weight", gguf.F32, []uint64{hidden}, gguftest.F32(ones...))
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKQuantsGenerateAlikePackedAndDense compares MLX's product of the packed matrices with that
// of the matrices that the loader expands.
func TestKQuantsGenerateAlikePackedAndDense(t *testing.T) {
	for _, typ := range []gguf.TensorType{gguf.Q4_K, gguf.Q5_K} {
		path := writeKQuants(t, typ)
		var tokens [2][]int32
		var logProbs [2][]float64
		for i, dense := range []string{"off", "on"} {
			engine := newEngine(t, gpu.Config{DenseWeights: dense})
			info := loadModel(t, engine, path)
			if want := map[gguf.TensorType]int{gguf.Q4_K: 4, gguf.Q5_K: 5}[typ]; info.Quantization == nil || info.Quantization.Bits != want {
				t.Errorf("%s: %+v", typ, info.Quantization)
			}
			for _, r := range generate(t, engine, []int32{1, 2, 3}, 12, 8, batcher.SequenceOptions{LogProbs: true}) {
				tokens[i] = append(tokens[i], r.Token)
				logProbs[i] = append(logProbs[i], float64(r.LogProb))
			}
		}
		if distinct := len(slices.Compact(slices.Sorted(slices.Values(tokens[0])))); distinct < 6 {
			t.Errorf("%s: only %d distinct tokens in %v", typ, distinct, tokens[0])
		}
		if !slices.Equal(tokens[0], tokens[1]) {
			t.Errorf("%s: packed %v, dense %v", typ, tokens[0], tokens[1])
			continue
		}
		for i := range logProbs[0] {
			if off := math.Abs(logProbs[0][i] - logProbs[1][i]); off > 1e-3 {
				t.Errorf("%s: log-probability %d differs by %g", typ, i, off)
			}
		}
	}
}
