package gpu_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
	"mlx-worker/internal/safetensors"
	"mlx-worker/internal/safetensors/safetensorstest"
)

const quantisedTinyConfig = `{"model_type":"llama","hidden_size":64,"num_hidden_layers":1,"intermediate_size":64,"num_attention_heads":4,
	"num_key_value_heads":2,"rms_norm_eps":1e-5,"vocab_size":64,"quantization":{"bits":4,"group_size":32}}`

// tinyFolder returns the files of a llama in one shard.
func tinyFolder(t testing.TB, config string) []byte {
	t.Helper()
	dir := t.TempDir()
	writeTinyLlama(t, dir, config, 1)
	return joinShards(t, dir, func(*safetensorstest.Tensor) {})
}

// tinyGGUF is a llama of one layer in a GGUF file, with a matrix of each kind of type.
func tinyGGUF() []byte {
	const hidden = 256
	b := gguftest.New().Set("general.architecture", "llama").
		Set("llama.embedding_length", uint32(hidden)).Set("llama.block_count", uint32(1)).
		Set("llama.feed_forward_length", uint32(hidden)).Set("llama.attention.head_count", uint32(4)).
		Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5)).Set("llama.context_length", uint32(64))
	types := []gguf.TensorType{gguf.F32, gguf.F16, gguf.BF16, gguf.Q4_0, gguf.Q5_1, gguf.Q8_0, gguf.Q4_K, gguf.Q6_K}
	for i, name := range []string{"token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output", "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.ffn_down"} {
		elements, bytes, _ := types[i].Block()
		b.Tensor(name+".weight", types[i], []uint64{hidden, hidden}, make([]byte, hidden*hidden/elements*bytes))
	}
	for _, name := range []string{"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"} {
		b.Tensor(name+".weight", gguf.F32, []uint64{hidden}, make([]byte, 4*hidden))
	}
	return b.Bytes()
}

// ggufHeader is about how much of tinyGGUF is metadata and directory.
const ggufHeader = 1200

// victim loads damaged models, one after the other, into one engine.
type victim struct {
	engine *gpu.Engine
	dir    string
}

func newVictim(t testing.TB) *victim {
	return &victim{engine: newEngine(t, gpu.Config{}), dir: t.TempDir()}
}

// load writes the files and loads the one of them, or the folder if it is empty. What is loaded
// is unloaded, and nothing may be left.
func (v *victim) load(t testing.TB, name string, files map[string][]byte) error {
	t.Helper()
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(v.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: filepath.Join(v.dir, name)}, nil)
	if err == nil {
		if _, err := v.engine.Unload(context.Background(), modelID); err != nil {
			t.Fatal(err)
		}
	} else if !fault.Is(err, fault.ModelLoad) {
		t.Errorf("%v is of kind %s", err, fault.KindOf(err))
	}
	if m := v.engine.Memory(); m.ActiveBytes != 0 {
		t.Fatalf("%d bytes are left after %v", m.ActiveBytes, err)
	}
	return err
}

// damage changes a file in one of the ways in which files get damaged, and says how.
func damage(random *rand.Rand, whole []byte, header int) (damaged []byte, how string) {
	damaged = slices.Clone(whole)
	at := random.IntN(len(whole))
	if random.IntN(4) > 0 { // mostly where structure is
		at = random.IntN(min(header, len(whole)))
	}
	switch random.IntN(5) {
	case 0:
		return damaged[:at], fmt.Sprintf("cut at %d", at)
	case 1:
		bit := random.IntN(8)
		damaged[at] ^= 1 << bit
		return damaged, fmt.Sprintf("bit %d at %d", bit, at)
	case 2:
		n := min(1+random.IntN(16), len(whole)-at)
		for i := range n {
			damaged[at+i] = byte(random.Uint32())
		}
		return damaged, fmt.Sprintf("%d random bytes at %d", n, at)
	case 3:
		n := min(1+random.IntN(64), len(whole)-at)
		return slices.Delete(damaged, at, at+n), fmt.Sprintf("%d bytes lost at %d", n, at)
	default:
		n := min(8, len(whole)-at)
		for i := range n {
			damaged[at+i] = 0xff
		}
		return damaged, fmt.Sprintf("%d bytes of ones at %d", n, at)
	}
}

// TestDamagedFiles loads models of which one file is damaged at random offsets. A damage that
// only changes numbers goes unseen; every other is an error that names the file.
func TestDamagedFiles(t *testing.T) {
	const rounds = 150
	plain, quantised, ggufBytes := tinyFolder(t, tinyConfig), tinyFolder(t, quantisedTinyConfig), tinyGGUF()
	for _, c := range []struct {
		name   string
		path   string // what is loaded
		file   string // what is damaged
		files  map[string][]byte
		header int // about how much of the file is structure
	}{
		{"safetensors", "", "model.safetensors", map[string][]byte{"config.json": []byte(tinyConfig), "model.safetensors": plain}, headerOf(plain)},
		{"quantised safetensors", "", "model.safetensors", map[string][]byte{"config.json": []byte(quantisedTinyConfig), "model.safetensors": quantised}, headerOf(quantised)},
		{"config.json", "", "config.json", map[string][]byte{"config.json": []byte(quantisedTinyConfig), "model.safetensors": quantised}, len(quantisedTinyConfig)},
		{"GGUF", "m.gguf", "m.gguf", map[string][]byte{"m.gguf": ggufBytes}, ggufHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVictim(t)
			if err := v.load(t, c.path, c.files); err != nil {
				t.Fatalf("undamaged: %v", err)
			}
			random := rand.New(rand.NewPCG(1, uint64(len(c.name))))
			failures := 0
			for range rounds {
				damaged, how := damage(random, c.files[c.file], c.header)
				err := v.load(t, c.path, map[string][]byte{c.file: damaged})
				if err == nil {
					continue
				}
				failures++
				if message := err.Error(); !strings.Contains(message, c.file) && !strings.Contains(message, "tensor") && !strings.Contains(message, "model_type") &&
					!strings.Contains(message, "architecture") && !strings.Contains(message, "model.") && !strings.Contains(message, "metadata") {
					t.Errorf("%s: %q names neither file nor tensor", how, message)
				}
			}
			if failures < rounds/4 {
				t.Errorf("only %d of %d damages were noticed", failures, rounds)
			}
		})
	}
}

func headerOf(file []byte) int { return 8 + int(binary.LittleEndian.Uint64(file)) }

// TestDamagedTensorsAreNamed changes one thing about one tensor.
func TestDamagedTensorsAreNamed(t *testing.T) {
	v := newVictim(t)
	plain, quantised := tinyFolder(t, tinyConfig), tinyFolder(t, quantisedTinyConfig)
	for name, c := range map[string]struct {
		config, file string
		content      []byte
		says         []string
	}{
		"NaN": {tinyConfig, "model.safetensors", withNaN(t, plain, "model.layers.1.mlp.up_proj.weight", 7),
			[]string{"model.safetensors", `"model.layers.1.mlp.up_proj.weight"`, "NaN"}},
		"NaN in a norm": {tinyConfig, "model.safetensors", withNaN(t, plain, "model.norm.weight", 63),
			[]string{"model.safetensors", `"model.norm.weight"`, "NaN"}},
		"NaN among scales": {quantisedTinyConfig, "model.safetensors", withNaN(t, quantised, "model.layers.0.self_attn.k_proj.scales", 0),
			[]string{"model.safetensors", `"model.layers.0.self_attn.k_proj.scales"`, "NaN"}},
		"another shape": {tinyConfig, "model.safetensors", renamed(plain, `[96,64]`, `[64,96]`),
			[]string{"model.safetensors", "_proj.weight", "has shape [64 96], and the configuration says [96 64]"}},
		"scales of another shape": {quantisedTinyConfig, "model.safetensors", renamed(quantised, `[64,2]`, `[2,64]`),
			[]string{"model."}},
		"scales of no shape": {quantisedTinyConfig, "model.safetensors", scalarScales(t), []string{"model.layers.0.mlp.down_proj.scales", "has shape []"}},
		"flat scales":        {quantisedTinyConfig, "model.safetensors", renamed(quantised, `[64,2]`, `[128] `), []string{"model."}},
		"another name": {tinyConfig, "model.safetensors", renamed(plain, "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.UP_proj.weight"),
			[]string{"tensors are missing: model.layers.0.mlp.up_proj.weight"}},
		"another dtype": {tinyConfig, "model.safetensors", renamed(plain, `"F32"`, `"I16"`), []string{"model.safetensors", "tensor"}},
	} {
		err := v.load(t, "", map[string][]byte{"config.json": []byte(c.config), "model.safetensors": c.content})
		for _, want := range c.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

func TestKQuantsThatWouldNotFitAreNamed(t *testing.T) {
	engine := newEngine(t, gpu.Config{MemoryLimitBytes: 4*256*256 - 1}) // one byte less than the dense matrix
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, tinyGGUF(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: path}, nil)
	if !fault.Is(err, fault.InsufficientMemory) || !strings.Contains(err.Error(), `"blk.0.ffn_down.weight" of type Q6_K`) {
		t.Errorf("got %v", err)
	}
}

// scalarScales is a quantised llama in which the scales of one matrix are a single number.
func scalarScales(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	writeTinyLlama(t, dir, quantisedTinyConfig, 1)
	return joinShards(t, dir, func(tensor *safetensorstest.Tensor) {
		if tensor.Name == "model.layers.0.mlp.down_proj.scales" {
			tensor.Shape, tensor.Data = []int{}, tensor.Data[:4]
		}
	})
}

func TestMissingShardIsNamed(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	dir := tinyModel(t)
	const shard = "model-00002-of-00002.safetensors"
	if err := os.Remove(filepath.Join(dir, shard)); err != nil {
		t.Fatal(err)
	}
	_, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: dir}, nil)
	if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), shard) {
		t.Errorf("got %v, want an error that names %s", err, shard)
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("%d bytes are left", m.ActiveBytes)
	}
}

// renamed replaces the first occurrence in the header by one of equal length.
func renamed(file []byte, old, new string) []byte {
	return []byte(strings.Replace(string(file), old, new, 1))
}

// withNaN replaces an element of a float32 tensor.
func withNaN(t *testing.T, file []byte, tensor string, element int) []byte {
	t.Helper()
	header := headerOf(file)
	at, ok := offsetOf(t, file[8:header], tensor)
	if !ok {
		t.Fatalf("there is no %s", tensor)
	}
	out := slices.Clone(file)
	binary.LittleEndian.PutUint32(out[header+at+4*element:], math.Float32bits(float32(math.NaN())))
	return out
}

// joinShards returns the tensors of a folder as one file, each changed by change.
func joinShards(t testing.TB, dir string, change func(*safetensorstest.Tensor)) []byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d shards, %v", len(paths), err)
	}
	var tensors []safetensorstest.Tensor
	for _, path := range paths {
		file, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, tensor := range file.Tensors {
			data := make([]byte, tensor.Bytes)
			if err := file.Read(tensor, data, func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, safetensorstest.Tensor{Name: tensor.Name, DType: string(tensor.DType), Shape: tensor.Shape, Data: data})
			change(&tensors[len(tensors)-1])
		}
	}
	return safetensorstest.Encode(tensors...)
}

// offsetOf returns where the tensor's data begins, counted from the end of the header.
func offsetOf(t *testing.T, header []byte, tensor string) (at int, ok bool) {
	t.Helper()
	var entries map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(header, &entries); err != nil {
		t.Fatal(err)
	}
	entry, ok := entries[tensor]
	return entry.Offsets[0], ok
}
