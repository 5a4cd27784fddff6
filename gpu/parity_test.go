package gpu_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
	"mlx-worker/internal/safetensors/safetensorstest"
)

// tinyModels is parity/tiny_models.json: what mlx-lm computes for models whose weights are a
// function of their names. parity/make_tiny_goldens.py writes it.
type tinyModels struct {
	Seed          uint64 `json:"seed"`
	PrefillTokens int    `json:"prefill_tokens"`
	Cases         map[string]struct {
		Config json.RawMessage `json:"config"`
		Runs   map[string]struct {
			Prompt   []int32   `json:"prompt"`
			Tokens   []int32   `json:"tokens"`
			Margins  []float64 `json:"margins"`
			LogProbs []float64 `json:"logprobs"` // of the tokens
		} `json:"runs"`
	} `json:"cases"`
}

// The parity rule for float32: tokens must agree up to the first step at which the reference's
// two best logits are closer than marginFP32, log-probabilities within toleranceFP32.
const (
	marginFP32    = 1e-3
	toleranceFP32 = 1e-4
)

// minComparedSteps keeps the margin rule from excusing a whole run.
const minComparedSteps = 8

func TestTinyModelsEqualMLXLM(t *testing.T) {
	raw, err := os.ReadFile("../parity/tiny_models.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden tinyModels
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for name, c := range golden.Cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTinyModel(t, dir, c.Config, golden.Seed)
			for _, dense := range []string{"on", "off"} {
				engine := newEngine(t, gpu.Config{DenseWeights: dense})
				loadModel(t, engine, dir)
				for label, run := range c.Runs {
					greedy := generate(t, engine, run.Prompt, len(run.Tokens), golden.PrefillTokens, batcher.SequenceOptions{})
					scored := generate(t, engine, run.Prompt, len(run.Tokens), golden.PrefillTokens, batcher.SequenceOptions{LogProbs: true})
					compared := 0
					for i, want := range run.Tokens {
						if run.Margins[i] < marginFP32 {
							break
						}
						compared++
						if greedy[i].Token != want || scored[i].Token != want {
							t.Fatalf("dense weights %s, prompt %q: token %d is %d and %d, want %d (margin %g)",
								dense, label, i, greedy[i].Token, scored[i].Token, want, run.Margins[i])
						}
						if off := math.Abs(float64(scored[i].LogProb) - run.LogProbs[i]); off > toleranceFP32*math.Max(1, math.Abs(run.LogProbs[i])) {
							t.Fatalf("dense weights %s, prompt %q: log-probability %d is %g, want %g", dense, label, i, scored[i].LogProb, run.LogProbs[i])
						}
					}
					if compared < minComparedSteps {
						t.Errorf("prompt %q: only %d of %d steps have a margin to compare by", label, compared, len(run.Tokens))
					}
				}
			}
		})
	}
}

// tinyWeights lists the parameters of a llama checkpoint of the configuration.
func tinyWeights(config json.RawMessage) map[string][]int {
	var c struct {
		Hidden  int   `json:"hidden_size"`
		Layers  int   `json:"num_hidden_layers"`
		Inner   int   `json:"intermediate_size"`
		Heads   int   `json:"num_attention_heads"`
		KVHeads int   `json:"num_key_value_heads"`
		HeadDim int   `json:"head_dim"`
		Vocab   int   `json:"vocab_size"`
		Tied    *bool `json:"tie_word_embeddings"`
		Bias    bool  `json:"attention_bias"`
		MLPBias bool  `json:"mlp_bias"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		panic(err)
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	w := map[string][]int{"model.embed_tokens.weight": {c.Vocab, c.Hidden}, "model.norm.weight": {c.Hidden}}
	if c.Tied != nil && !*c.Tied {
		w["lm_head.weight"] = []int{c.Vocab, c.Hidden}
	}
	linear := func(path string, out, in int, bias bool) {
		w[path+".weight"] = []int{out, in}
		if bias {
			w[path+".bias"] = []int{out}
		}
	}
	for i := range c.Layers {
		path := fmt.Sprintf("model.layers.%d.", i)
		w[path+"input_layernorm.weight"] = []int{c.Hidden}
		w[path+"post_attention_layernorm.weight"] = []int{c.Hidden}
		linear(path+"self_attn.q_proj", c.Heads*c.HeadDim, c.Hidden, c.Bias)
		linear(path+"self_attn.k_proj", c.KVHeads*c.HeadDim, c.Hidden, c.Bias)
		linear(path+"self_attn.v_proj", c.KVHeads*c.HeadDim, c.Hidden, c.Bias)
		linear(path+"self_attn.o_proj", c.Hidden, c.Heads*c.HeadDim, c.Bias)
		linear(path+"mlp.gate_proj", c.Inner, c.Hidden, c.MLPBias)
		linear(path+"mlp.up_proj", c.Inner, c.Hidden, c.MLPBias)
		linear(path+"mlp.down_proj", c.Hidden, c.Inner, c.MLPBias)
	}
	return w
}

// tinyValues is `values` of make_tiny_goldens.py.
func tinyValues(name string, shape []int, seed uint64) []float32 {
	count := 1
	for _, d := range shape {
		count *= d
	}
	key := uint64(crc32.ChecksumIEEE([]byte(name)))<<32 + seed
	out := make([]float32, count)
	for i := range out {
		x := key + uint64(i) + 0x9e3779b97f4a7c15
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
		x = (x ^ (x >> 27)) * 0x94d049bb133111eb
		x ^= x >> 31
		u := float32(x>>40)/(1<<24) - 0.5
		switch {
		case strings.Contains(name, "norm"):
			u = u*0.25 + 1
		case strings.Contains(name, "embed"):
			u *= 0.25
		}
		out[i] = u
	}
	return out
}

func float32Tensor(name string, shape []int, values []float32) safetensorstest.Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return safetensorstest.Tensor{Name: name, DType: "F32", Shape: shape, Data: data}
}

// writeTinyModel writes a folder as mlx_lm.convert would: in two shards with an index, and
// quantised where the configuration says so.
func writeTinyModel(t *testing.T, dir string, config json.RawMessage, seed uint64) {
	t.Helper()
	var c struct {
		Quantization map[string]json.RawMessage `json:"quantization"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	var tensors []safetensorstest.Tensor
	weights := tinyWeights(config)
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		shape := weights[name]
		values := tinyValues(name, shape, seed)
		path, isWeight := strings.CutSuffix(name, ".weight")
		group, bits := quantizationOf(t, c.Quantization, path)
		if !isWeight || len(shape) != 2 || bits == 0 {
			tensors = append(tensors, float32Tensor(name, shape, values))
			continue
		}
		tensors = append(tensors, quantise(t, path, values, shape, group, bits)...)
	}
	shards := map[string][]safetensorstest.Tensor{
		"model-00001-of-00002.safetensors": tensors[:len(tensors)/2],
		"model-00002-of-00002.safetensors": tensors[len(tensors)/2:],
	}
	weightMap := map[string]string{}
	for file, part := range shards {
		safetensorstest.Write(t, filepath.Join(dir, file), part...)
		for _, tensor := range part {
			weightMap[tensor.Name] = file
		}
	}
	writeJSON(t, filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"weight_map": weightMap})
	writeJSON(t, filepath.Join(dir, "config.json"), config)
}

func quantizationOf(t *testing.T, q map[string]json.RawMessage, path string) (group, bits int) {
	t.Helper()
	if q == nil {
		return 0, 0
	}
	var spec struct {
		Group int `json:"group_size"`
		Bits  int `json:"bits"`
	}
	body, ok := q[path]
	if ok && string(body) == "false" {
		return 0, 0
	}
	if !ok {
		var err error
		if body, err = json.Marshal(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(body, &spec); err != nil {
		t.Fatal(err)
	}
	return spec.Group, spec.Bits
}

// quantise gives the three tensors of a quantised matrix, computed by MLX.
func quantise(t *testing.T, path string, values []float32, shape []int, group, bits int) []safetensorstest.Tensor {
	t.Helper()
	var packed []uint32
	var scales, biases []float32
	mlxtest.Run(t, func(stream mlx.Stream) error {
		var parts [3]*mlx.Ref
		err := mlx.Build(stream, func(s *mlx.Scope) error {
			q := s.Quantize(s.Float32s(values, shape...), group, bits, mlx.Affine)
			for i, a := range []mlx.Array{q.Weight, q.Scales, q.Biases} {
				var err error
				if parts[i], err = s.Keep(a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if packed, err = mlx.ReadUint32s(stream, parts[0].Array()); err != nil {
			return err
		}
		if scales, err = mlx.ReadFloat32s(stream, parts[1].Array()); err != nil {
			return err
		}
		biases, err = mlx.ReadFloat32s(stream, parts[2].Array())
		for _, p := range parts {
			p.Free()
		}
		return err
	})
	data := make([]byte, 0, 4*len(packed))
	for _, v := range packed {
		data = binary.LittleEndian.AppendUint32(data, v)
	}
	groups := []int{shape[0], shape[1] / group}
	return []safetensorstest.Tensor{
		{Name: path + ".weight", DType: "U32", Shape: []int{shape[0], shape[1] * bits / 32}, Data: data},
		float32Tensor(path+".scales", groups, scales),
		float32Tensor(path+".biases", groups, biases),
	}
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
