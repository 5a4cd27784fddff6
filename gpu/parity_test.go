package gpu_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
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

// tinyCase is a file of parity/tiny: what mlx-lm computes for a model whose weights are a
// function of their names. parity/make_tiny_goldens.py writes them.
type tinyCase struct {
	Seed          uint64            `json:"seed"`
	Rules         []tinyRule        `json:"rules"`
	PrefillTokens int               `json:"prefill_tokens"`
	Config        json.RawMessage   `json:"config"`
	Parameters    map[string][]int  `json:"parameters"` // shapes, before quantisation
	Formats       map[string]format `json:"formats"`    // of quantised layers, by path
	Runs          map[string]struct {
		Prompt   []int32   `json:"prompt"`
		Tokens   []int32   `json:"tokens"`
		Margins  []float64 `json:"margins"`
		LogProbs []float64 `json:"logprobs"` // of the tokens
	} `json:"runs"`
}

// format is how a layer is quantised.
type format struct {
	GroupSize int           `json:"group_size"`
	Bits      int           `json:"bits"`
	Mode      mlx.QuantMode `json:"mode"`
}

// tinyRule makes the parameters whose name has a part: around center, in a range of width.
type tinyRule struct {
	part          string
	center, width float32
}

func (r *tinyRule) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&r.part, &r.center, &r.width})
}

// The parity rule for float32: tokens must agree up to the first step at which the reference's
// two best logits are closer than marginFP32, log-probabilities within toleranceFP32.
const (
	marginFP32    = 1e-3
	toleranceFP32 = 1e-4
)

// raceShare is how many tiny models there are to one that runs under the race detector: they share
// all code in which goroutines meet.
const raceShare = 12

// ciShare is how many tiny models there are to one that is compared without MLX_PARITY=all.
const ciShare = 3

// skipMostUnderRace skips all but a fixed share of the cases when the race detector runs.
func skipMostUnderRace(t *testing.T, name string) {
	t.Helper()
	if raceDetector && crc32.ChecksumIEEE([]byte(name))%raceShare != 0 {
		t.Skipf("the race detector sees one case of %d; a run without it sees all", raceShare)
	}
}

// minComparedSteps keeps the margin rule from excusing a whole run.
const minComparedSteps = 8

func readTinyModels(t *testing.T) map[string]tinyCase {
	t.Helper()
	files, err := filepath.Glob("../parity/tiny/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in parity/tiny: %v", err)
	}
	models := map[string]tinyCase{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m tinyCase
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		models[strings.TrimSuffix(filepath.Base(file), ".json")] = m
	}
	return models
}

// TestTinyModelsEqualMLXLM compares every case alone and its prompts as a batch, with quantised
// weights as they are and dense.
func TestTinyModelsEqualMLXLM(t *testing.T) {
	models := readTinyModels(t)
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			skipMostUnderRace(t, name)
			if os.Getenv("MLX_PARITY") != "all" && crc32.ChecksumIEEE([]byte(name))%ciShare != 0 {
				t.Skipf("one case of %d runs here; make parity runs all (MLX_PARITY=all)", ciShare)
			}
			dir := t.TempDir()
			m.write(t, dir)
			policies := []gpu.Config{{DenseWeights: "off"}}
			if testDevice() == "cpu" {
				policies = append(policies, gpu.Config{DenseWeights: "off", CPUKernels: "off"})
			}
			if testDevice() == "cpu" && len(m.Formats) > 0 {
				policies = append(policies, gpu.Config{DenseWeights: "on"})
			}
			for _, policy := range policies {
				dense := fmt.Sprintf("%s, kernels %q", policy.DenseWeights, policy.CPUKernels)
				engine := newEngine(t, policy)
				loadModel(t, engine, dir)
				m.compare(t, engine, dense)
			}
		})
	}
}

// compare runs each prompt alone, and all as a batch.
func (m *tinyCase) compare(t *testing.T, engine *gpu.Engine, dense string) {
	t.Helper()
	var jobs []*job
	for label, run := range m.Runs {
		greedy := generate(t, engine, run.Prompt, len(run.Tokens), m.PrefillTokens, batcher.SequenceOptions{})
		scored := generate(t, engine, run.Prompt, len(run.Tokens), m.PrefillTokens, batcher.SequenceOptions{LogProbs: true})
		m.judge(t, dense, label, greedy, false)
		m.judge(t, dense, label, scored, true)
		jobs = append(jobs, &job{label: label, prompt: run.Prompt, tokens: len(run.Tokens), chunk: m.PrefillTokens})
	}
	runTogether(t, engine, rand.New(rand.NewPCG(1, 1)), jobs, 0, func(*job) bool { return false })
	for _, j := range jobs {
		m.judge(t, dense, j.label+" in a batch", j.completed, false)
	}
}

func (m *tinyCase) judge(t *testing.T, dense, label string, got []batcher.StepResult, scored bool) {
	t.Helper()
	run := m.Runs[strings.TrimSuffix(label, " in a batch")]
	compared := 0
	for i, want := range run.Tokens {
		if run.Margins[i] < marginFP32 {
			break
		}
		compared++
		if got[i].Token != want {
			t.Errorf("dense weights %s, prompt %q: token %d is %d, want %d (margin %g)", dense, label, i, got[i].Token, want, run.Margins[i])
			return
		}
		if off := math.Abs(float64(got[i].LogProb) - run.LogProbs[i]); scored && off > toleranceFP32*math.Max(1, math.Abs(run.LogProbs[i])) {
			t.Errorf("dense weights %s, prompt %q: log-probability %d is %g, want %g", dense, label, i, got[i].LogProb, run.LogProbs[i])
			return
		}
	}
	if compared < minComparedSteps {
		t.Errorf("prompt %q: only %d of %d steps have a margin to compare by", label, compared, len(run.Tokens))
	}
}

// values is `values` of make_tiny_goldens.py.
func (m *tinyCase) values(name string) []float32 {
	count := 1
	for _, d := range m.Parameters[name] {
		count *= d
	}
	rule := m.Rules[slices.IndexFunc(m.Rules, func(r tinyRule) bool { return strings.Contains(name, r.part) })]
	key := uint64(crc32.ChecksumIEEE([]byte(name)))<<32 + m.Seed
	out := make([]float32, count)
	for i := range out {
		x := key + uint64(i) + 0x9e3779b97f4a7c15
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
		x = (x ^ (x >> 27)) * 0x94d049bb133111eb
		x ^= x >> 31
		u := float32(x>>40)/(1<<24) - 0.5
		out[i] = float32(u*rule.width) + rule.center // two roundings, as NumPy does
	}
	return out
}

// write makes a folder as mlx_lm.convert does: in two shards with an index, and quantised where
// the case says so.
func (m *tinyCase) write(t testing.TB, dir string) {
	t.Helper()
	writeFolder(t, dir, m.Config, m.tensors(t))
}

func (m *tinyCase) tensors(t testing.TB) []safetensorstest.Tensor {
	t.Helper()
	var tensors []safetensorstest.Tensor
	for _, name := range slices.Sorted(maps.Keys(m.Parameters)) {
		path, _ := strings.CutSuffix(name, ".weight")
		values, shape := m.values(name), m.Parameters[name]
		if f, quantised := m.Formats[path]; quantised && path != name {
			tensors = append(tensors, quantise(t, path, values, shape, f)...)
			continue
		}
		tensors = append(tensors, float32Tensor(name, shape, values))
	}
	return tensors
}

func writeFolder(t testing.TB, dir string, config any, tensors []safetensorstest.Tensor) {
	t.Helper()
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

func float32Tensor(name string, shape []int, values []float32) safetensorstest.Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return safetensorstest.Tensor{Name: name, DType: "F32", Shape: shape, Data: data}
}

// quantise gives the tensors of a quantised matrix, or of a stack of them, computed by MLX.
func quantise(t testing.TB, path string, values []float32, shape []int, f format) []safetensorstest.Tensor {
	t.Helper()
	var tensors []safetensorstest.Tensor
	add := func(stream mlx.Stream, suffix string, a mlx.Array) error {
		tensor := safetensorstest.Tensor{Name: path + suffix, Shape: a.Shape()}
		switch a.DType() {
		case mlx.Float32:
			read, err := mlx.ReadFloat32s(stream, a)
			if err != nil {
				return err
			}
			tensor = float32Tensor(tensor.Name, tensor.Shape, read)
		case mlx.Uint32:
			read, err := mlx.ReadUint32s(stream, a)
			if err != nil {
				return err
			}
			tensor.DType = "U32"
			for _, v := range read {
				tensor.Data = binary.LittleEndian.AppendUint32(tensor.Data, v)
			}
		default: // scales of 8 bits
			read, err := mlx.ReadInt32s(stream, a)
			if err != nil {
				return err
			}
			tensor.DType = "U8"
			for _, v := range read {
				tensor.Data = append(tensor.Data, byte(v))
			}
		}
		tensors = append(tensors, tensor)
		return nil
	}
	mlxtest.Run(t, func(stream mlx.Stream) error {
		var parts [3]mlx.Ref
		err := mlx.Build(stream, func(s *mlx.Scope) error {
			q := s.Quantize(s.Float32s(values, shape...), f.GroupSize, f.Bits, f.Mode)
			for i, a := range []mlx.Array{q.Weight, q.Scales, q.Biases} {
				if !a.IsNull() {
					parts[i].Set(s, a)
				}
			}
			return nil
		})
		for i, suffix := range []string{".weight", ".scales", ".biases"} {
			if err == nil && !parts[i].Array().IsNull() {
				err = add(stream, suffix, parts[i].Array())
			}
			parts[i].Free()
		}
		return err
	})
	return tensors
}

func writeJSON(t testing.TB, path string, value any) {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeTinyLlama writes a llama of the configuration.
func writeTinyLlama(t testing.TB, dir string, config string, seed uint64) {
	t.Helper()
	m := tinyCase{
		Seed: seed, Config: json.RawMessage(config), Parameters: tinyLlamaParameters(t, config), Formats: map[string]format{},
		Rules: []tinyRule{{"norm", 1, 0.25}, {"embed", 0, 0.25}, {"", 0, 1}},
	}
	var c struct {
		Quantization *format `json:"quantization"`
	}
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	if c.Quantization != nil {
		c.Quantization.Mode = mlx.Affine
		for name, shape := range m.Parameters {
			if len(shape) == 2 {
				m.Formats[strings.TrimSuffix(name, ".weight")] = *c.Quantization
			}
		}
	}
	m.write(t, dir)
}

// tinyLlamaParameters lists the parameters of a llama with a tied head and without biases.
func tinyLlamaParameters(t testing.TB, config string) map[string][]int {
	t.Helper()
	var c struct {
		Hidden  int `json:"hidden_size"`
		Layers  int `json:"num_hidden_layers"`
		Inner   int `json:"intermediate_size"`
		Heads   int `json:"num_attention_heads"`
		KVHeads int `json:"num_key_value_heads"`
		Vocab   int `json:"vocab_size"`
	}
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	keys := c.Hidden / c.Heads * c.KVHeads
	w := map[string][]int{"model.embed_tokens.weight": {c.Vocab, c.Hidden}, "model.norm.weight": {c.Hidden}}
	for i := range c.Layers {
		path := fmt.Sprintf("model.layers.%d.", i)
		for name, shape := range map[string][]int{
			"input_layernorm": {c.Hidden}, "post_attention_layernorm": {c.Hidden},
			"self_attn.q_proj": {c.Hidden, c.Hidden}, "self_attn.k_proj": {keys, c.Hidden},
			"self_attn.v_proj": {keys, c.Hidden}, "self_attn.o_proj": {c.Hidden, c.Hidden},
			"mlp.gate_proj": {c.Inner, c.Hidden}, "mlp.up_proj": {c.Inner, c.Hidden}, "mlp.down_proj": {c.Hidden, c.Inner},
		} {
			w[path+name+".weight"] = shape
		}
	}
	return w
}
