package gguf_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"mlx-worker/internal/gguf"
)

// The model that `make model` fetches.
const smolLM2 = "../../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

func TestSmolLM2(t *testing.T) {
	if _, err := os.Stat(smolLM2); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the test model is absent: run `make model`")
	}
	f, err := gguf.Open(smolLM2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := get[string](t, f, "general.architecture"); got != "llama" {
		t.Errorf("architecture %q", got)
	}
	if got := get[int](t, f, "llama.block_count"); got != 30 {
		t.Errorf("%d blocks", got)
	}
	if got := get[int](t, f, "llama.context_length"); got != 8192 {
		t.Errorf("context of %d", got)
	}
	if got := get[float32](t, f, "llama.attention.layer_norm_rms_epsilon"); got != 1e-5 {
		t.Errorf("epsilon %v", got)
	}
	tokens := get[[]string](t, f, "tokenizer.ggml.tokens")
	if len(tokens) != 49152 || tokens[1] != "<|im_start|>" || tokens[2] != "<|im_end|>" {
		t.Errorf("%d tokens, %q", len(tokens), tokens[:3])
	}
	if types := get[[]int32](t, f, "tokenizer.ggml.token_type"); len(types) != len(tokens) {
		t.Errorf("%d token types", len(types))
	}
	embed, ok := f.Tensor("token_embd.weight")
	if !ok || embed.Dims[0] != 576 || embed.Dims[1] != 49152 {
		t.Fatalf("token_embd.weight: %+v", embed)
	}
	var elements uint64
	end := int64(0)
	for i := range f.Tensors() {
		elements += f.Tensors()[i].Elements()
		end += int64(len(f.Tensors()[i].Data()))
	}
	if elements != 134_515_008 {
		t.Errorf("%d parameters", elements)
	}
	if header := f.Size() - end; header < 0 || header > 4<<20 {
		t.Errorf("%d bytes are not tensor data", header)
	}
}

func BenchmarkOpenSmolLM2(b *testing.B) {
	if _, err := os.Stat(smolLM2); err != nil {
		b.Skip("the test model is absent: run `make model`")
	}
	b.ReportAllocs()
	for range b.N {
		f, err := gguf.Open(smolLM2)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
