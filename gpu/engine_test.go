package gpu_test

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/internal/fault"
)

const modelID = "model"

// testDevice is where the tests of this package compute: the CPU, unless MLX_TEST_DEVICE names
// another device of MLX_DEVICE.
func testDevice() string { return cmp.Or(os.Getenv("MLX_TEST_DEVICE"), "cpu") }

// newEngine starts an engine with one BLAS thread: tests share the machine.
func newEngine(t testing.TB, config gpu.Config) *gpu.Engine {
	t.Helper()
	config.Device, config.CPUThreads, config.CacheLimitBytes = testDevice(), 1, -1
	engine, err := gpu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func loadModel(t testing.TB, engine *gpu.Engine, path string) batcher.ModelInfo {
	t.Helper()
	info, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// generate runs a sequence as the batcher does and returns its results.
func generate(t *testing.T, engine *gpu.Engine, prompt []int32, tokens, prefillTokens int, opts batcher.SequenceOptions) []batcher.StepResult {
	t.Helper()
	ctx := context.Background()
	seq, err := engine.NewSequence(ctx, modelID, prompt, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer seq.Close()
	step := func(row batcher.Row) batcher.StepResult {
		row.Sequence = seq
		results := runStep(t, engine, row)
		if results[0].Err != nil {
			t.Fatal(results[0].Err)
		}
		return results[0]
	}
	for left := len(prompt) - 1; left > 0; {
		n := min(prefillTokens, left)
		step(batcher.Row{PromptTokens: n})
		left -= n
	}
	var out []batcher.StepResult
	for range tokens {
		out = append(out, step(batcher.Row{}))
	}
	return out
}

// runStep dispatches a step and waits for it.
func runStep(t *testing.T, engine *gpu.Engine, rows ...batcher.Row) []batcher.StepResult {
	t.Helper()
	step, err := engine.Dispatch(context.Background(), rows)
	if err != nil {
		t.Fatal(err)
	}
	results, err := step.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// smolLM2 is the real model that `make model` fetches.
const smolLM2 = "../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

// tinyConfig is a llama small enough to load in milliseconds.
const tinyConfig = `{"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"intermediate_size":96,
	"num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5,"vocab_size":160,"max_position_embeddings":512}`

func tinyModel(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeTinyLlama(t, dir, tinyConfig, 1)
	return dir
}

func tokens(results []batcher.StepResult) []int32 {
	var out []int32
	for _, r := range results {
		out = append(out, r.Token)
	}
	return out
}

func TestSmolLM2EqualsMLXLM(t *testing.T) {
	raw, err := os.ReadFile("../parity/smollm2_greedy.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			PromptIDs []int32   `json:"prompt_ids"`
			TokenIDs  []int32   `json:"token_ids"`
			Margins   []float64 `json:"margins"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) == 0 {
		t.Fatal("parity/smollm2_greedy.json has no cases")
	}
	engine := newEngine(t, gpu.Config{DenseWeights: "on"})
	loadModel(t, engine, smolLM2)
	const cases, steps = 3, 12 // the benchmark compares all of them
	compared := 0
	for i, c := range golden.Cases[:cases] {
		got := tokens(generate(t, engine, c.PromptIDs, steps, 2048, batcher.SequenceOptions{}))
		for j, want := range c.TokenIDs[:steps] {
			if c.Margins[j] < marginFP32 {
				break
			}
			if got[j] != want {
				t.Errorf("case %d: token %d is %d, want %d (margin %g)", i, j, got[j], want, c.Margins[j])
				break
			}
			compared++
		}
	}
	expectMostCompared(t, compared, cases*steps)
}

func TestModelInfoOfSmolLM2(t *testing.T) {
	engine := newEngine(t, gpu.Config{DenseWeights: "off"})
	var phases []string
	var last batcher.LoadProgress
	info, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: smolLM2, ContextLength: 1000}, func(p batcher.LoadProgress) {
		if p.Phase != last.Phase {
			phases = append(phases, p.Phase)
		} else if p.LoadedBytes < last.LoadedBytes {
			t.Errorf("progress went back from %d to %d bytes", last.LoadedBytes, p.LoadedBytes)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if info.Architecture != "llama" || info.ContextLength != 1000 || info.ParameterCount != 134515008 || info.VocabSize != 49152 ||
		info.DType != "float32" || *info.Quantization != (batcher.Quantization{Mode: "affine", Bits: 4, GroupSize: 32}) || info.LoadMs <= 0 {
		t.Errorf("info: %+v %+v", info, info.Quantization)
	}
	if info.SizeBytes < 90<<20 || info.SizeBytes > 150<<20 {
		t.Errorf("%d bytes for 135 M parameters of 4 bit with float32 scales", info.SizeBytes)
	}
	if strings.Join(phases, " ") != "read warmup" || last.LoadedBytes != last.TotalBytes {
		t.Errorf("progress: %v, last %+v", phases, last)
	}
}

func TestUnloadAndCloseGiveMemoryBack(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	dir := tinyModel(t)
	ctx := context.Background()
	for range 3 {
		info := loadModel(t, engine, dir)
		generate(t, engine, []int32{1, 2, 3}, 4, 2, batcher.SequenceOptions{})
		freed, err := engine.Unload(ctx, modelID)
		if err != nil {
			t.Fatal(err)
		}
		if freed < info.SizeBytes {
			t.Errorf("unloading %d bytes of weights freed %d", info.SizeBytes, freed)
		}
		if m := engine.Memory(); m.ActiveBytes != 0 || m.CacheBytes != 0 {
			t.Errorf("memory after unloading: %+v", m)
		}
	}
	if _, err := engine.Unload(ctx, modelID); !fault.Is(err, fault.ModelNotLoaded) {
		t.Errorf("unloading twice: %v", err)
	}
	if _, err := engine.NewSequence(ctx, modelID, []int32{1}, batcher.SequenceOptions{}); !fault.Is(err, fault.ModelNotLoaded) {
		t.Errorf("a sequence of an unloaded model: %v", err)
	}
}

func TestRowsOfAStepAreIndependent(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	loadModel(t, engine, tinyModel(t))
	ctx := context.Background()
	alone := tokens(generate(t, engine, []int32{5, 6}, 6, 8, batcher.SequenceOptions{}))
	open := func(prompt ...int32) batcher.Sequence {
		s, err := engine.NewSequence(ctx, modelID, prompt, batcher.SequenceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	good, bad, closed := open(5, 6), open(7, 8, 9), open(1)
	closed.Close()
	results := runStep(t, engine, batcher.Row{Sequence: good, PromptTokens: 1}, batcher.Row{Sequence: bad}, batcher.Row{Sequence: closed})
	if results[0].Err != nil || results[1].Err == nil || results[2].Err == nil {
		t.Fatalf("got %+v; want an error of the second and third row alone", results)
	}
	var got []int32
	for range 6 {
		results := runStep(t, engine, batcher.Row{Sequence: good})
		if results[0].Err != nil {
			t.Fatal(results[0].Err)
		}
		got = append(got, results[0].Token)
	}
	if !slices.Equal(got, alone) {
		t.Errorf("beside failing rows %v, alone %v", got, alone)
	}
}

func TestPromptTokensAreChecked(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	loadModel(t, engine, tinyModel(t))
	for _, prompt := range [][]int32{{}, {160}, {-1}} {
		if _, err := engine.NewSequence(context.Background(), modelID, prompt, batcher.SequenceOptions{}); !fault.Is(err, fault.InvalidParams) {
			t.Errorf("prompt %v: %v", prompt, err)
		}
	}
}

func TestSeedsAndTopLogProbs(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	loadModel(t, engine, tinyModel(t))
	opts := batcher.SequenceOptions{Sampling: batcher.Sampling{Temperature: 1, TopP: 1, Seed: 9}, LogProbs: true, TopLogProbs: 4}
	first := generate(t, engine, []int32{3, 4, 5}, 16, 8, opts)
	again := generate(t, engine, []int32{3, 4, 5}, 16, 8, opts)
	if !slices.Equal(tokens(first), tokens(again)) {
		t.Errorf("one seed gave %v and %v", tokens(first), tokens(again))
	}
	opts.Sampling.Seed = 10
	if other := generate(t, engine, []int32{3, 4, 5}, 16, 8, opts); slices.Equal(tokens(first), tokens(other)) {
		t.Errorf("two seeds gave %v", tokens(first))
	}
	for i, r := range first {
		if len(r.TopLogProbs) != 4 || r.LogProb > r.TopLogProbs[0].LogProb {
			t.Fatalf("step %d: %+v", i, r)
		}
		if !slices.IsSortedFunc(r.TopLogProbs, func(a, b batcher.TokenLogProb) int { return int(math.Copysign(1, float64(b.LogProb-a.LogProb))) }) {
			t.Errorf("step %d is not sorted: %+v", i, r.TopLogProbs)
		}
	}
}

// TestCacheGrowsBeyondItsStep decodes over the cache's growth at 256 positions and compares
// with a prompt that is already that long.
func TestCacheGrowsBeyondItsStep(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	loadModel(t, engine, tinyModel(t))
	prompt := make([]int32, 250)
	for i := range prompt {
		prompt[i] = int32(i*i) % 160
	}
	long := tokens(generate(t, engine, prompt, 16, 64, batcher.SequenceOptions{}))
	resumed := tokens(generate(t, engine, append(slices.Clone(prompt), long[:10]...), 6, 300, batcher.SequenceOptions{}))
	if !slices.Equal(long[10:], resumed) {
		t.Errorf("decoded across 256: %v, prefilled across: %v", long[10:], resumed)
	}
}

func TestLoadFailuresFreeEverything(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	change := func(old, new string) string {
		dir := t.TempDir()
		writeTinyLlama(t, dir, tinyConfig, 1)
		config := strings.Replace(tinyConfig, old, new, 1)
		if config == tinyConfig {
			t.Fatalf("the configuration has no %s", old)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, test := range map[string]struct{ path, says string }{
		"missing path":         {filepath.Join(t.TempDir(), "none"), "no such file"},
		"unknown architecture": {change(`"llama"`, `"mamba9"`), `unknown architecture "mamba9"; accepted: `},
		"more layers":          {change(`"num_hidden_layers":2`, `"num_hidden_layers":3`), "tensors are missing: model.layers.2."},
		"fewer layers":         {change(`"num_hidden_layers":2`, `"num_hidden_layers":1`), "tensors do not belong to a llama model: model.layers.1."},
		"another width":        {change(`"intermediate_size":96`, `"intermediate_size":64`), "has shape [96 64], and the configuration says [64 64]"},
		"zero heads":           {change(`"num_attention_heads":4`, `"num_attention_heads":0`), "num_attention_heads is 0"},
		"sliding layers":       {change(`"vocab_size"`, `"layer_types":["full_attention","linear_attention"],"vocab_size"`), `layer_types has "linear_attention"; accepted: full_attention, sliding_attention`},
		"no window":            {change(`"vocab_size"`, `"layer_types":["full_attention","sliding_attention"],"vocab_size"`), "sliding_window is 0"},
		"too few layer types":  {change(`"vocab_size"`, `"layer_types":["full_attention"],"vocab_size"`), "layer_types has 1 entries for 2 layers"},
		"unknown rope":         {change(`"vocab_size"`, `"rope_scaling":{"rope_type":"spiral"},"vocab_size"`), `rope type "spiral" is not supported`},
	} {
		_, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: test.path}, nil)
		if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want a ModelLoad fault with %q", name, err, test.says)
		}
	}
	if _, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: tinyModel(t), ContextLength: 513}, nil); !fault.Is(err, fault.InvalidParams) {
		t.Errorf("a context longer than the model's: %v", err)
	}
	if _, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: tinyModel(t), DType: "int8"}, nil); !fault.Is(err, fault.InvalidParams) {
		t.Errorf("an unknown dtype: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := engine.Load(ctx, batcher.LoadRequest{ModelID: modelID, Path: tinyModel(t)}, func(batcher.LoadProgress) { cancel() })
	if !fault.Is(err, fault.Cancelled) {
		t.Errorf("a cancelled load: %v", err)
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("failed loads left %d bytes", m.ActiveBytes)
	}
	loadModel(t, engine, tinyModel(t)) // and the engine still works
	generate(t, engine, []int32{1, 2}, 2, 8, batcher.SequenceOptions{})
}

func TestCloseIsFinal(t *testing.T) {
	engine, err := gpu.New(gpu.Config{Device: "cpu", CacheLimitBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	loadModel(t, engine, tinyModel(t))
	seq, err := engine.NewSequence(context.Background(), modelID, []int32{1}, batcher.SequenceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	seq.Close()
	if _, err := engine.Dispatch(context.Background(), []batcher.Row{{Sequence: seq}}); !fault.Is(err, fault.ShuttingDown) {
		t.Errorf("a step after Close: %v", err)
	}
}

func TestUnknownDeviceIsRefused(t *testing.T) {
	if _, err := gpu.New(gpu.Config{Device: "tpu"}); err == nil || !strings.Contains(err.Error(), "accepted: auto, cpu, gpu") {
		t.Errorf("got %v", err)
	}
}

// TestHalfPrecisionWithScoresInFloat32: queries and keys are cast for the product, values are not.
func TestHalfPrecisionWithScoresInFloat32(t *testing.T) {
	m, dir := readTinyModels(t)["phi"], t.TempDir()
	m.write(t, dir)
	engine := newEngine(t, gpu.Config{})
	request := batcher.LoadRequest{ModelID: modelID, Path: dir, DType: "float16"}
	if _, err := engine.Load(context.Background(), request, nil); err != nil {
		t.Fatal(err)
	}
	for label, run := range m.Runs {
		got := generate(t, engine, run.Prompt, 1, m.PrefillTokens, batcher.SequenceOptions{})
		if got[0].Token != run.Tokens[0] && run.Margins[0] > 0.1 {
			t.Errorf("prompt %q: token %d, want %d (margin %g)", label, got[0].Token, run.Tokens[0], run.Margins[0])
		}
	}
}

func TestHalfPrecisionExpertsAreRefusedOnTheCPU(t *testing.T) {
	if testDevice() != "cpu" {
		t.Skip("this is about the CPU backend")
	}
	m, dir := readTinyModels(t)["mixtral"], t.TempDir()
	m.write(t, dir)
	engine := newEngine(t, gpu.Config{})
	_, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: dir, DType: "bfloat16"}, nil)
	if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), "dtype float32") {
		t.Errorf("got %v", err)
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("the refused load left %d bytes", m.ActiveBytes)
	}
}
