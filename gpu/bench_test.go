package gpu_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
)

// largeConfig is a llama of 0.9 billion parameters, with random weights, for GPUs.
const largeConfig = `{"model_type":"llama","hidden_size":2048,"num_hidden_layers":16,"intermediate_size":5632,
	"num_attention_heads":32,"num_key_value_heads":8,"rms_norm_eps":1e-5,"vocab_size":32000,"max_position_embeddings":4096%s}`

// BenchmarkDecode measures steps of rows that differ in length: SmolLM2 on the CPU, random models
// on a GPU (MLX_TEST_DEVICE=gpu). It reports completion tokens a second.
func BenchmarkDecode(b *testing.B) {
	if testDevice() == "cpu" {
		benchmarkDecode(b, smolLM2, "")
		return
	}
	for name, quantization := range map[string]string{"bf16": "", "4bit": `,"quantization":{"group_size":64,"bits":4}`} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			writeTinyLlama(b, dir, fmt.Sprintf(largeConfig, quantization), 1)
			benchmarkDecode(b, dir, "bfloat16")
		})
	}
}

func benchmarkDecode(b *testing.B, path, dtype string) {
	engine, err := gpu.New(gpu.Config{Device: testDevice(), CacheLimitBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	if _, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: path, DType: dtype}, nil); err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{1, 4, 16, 32, 64} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			steps := newSteps(b, engine, rows)
			defer steps.close()
			steps.run(b, 3)
			b.ResetTimer()
			steps.dispatching = 0
			steps.run(b, b.N)
			b.ReportMetric(float64(steps.dispatching.Microseconds())/1e3/float64(b.N), "dispatch-ms/op")
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}

// BenchmarkPrefill runs prompts through the real small model, each as one chunk.
func BenchmarkPrefill(b *testing.B) {
	engine, err := gpu.New(gpu.Config{Device: testDevice(), CacheLimitBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	if _, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: smolLM2}, nil); err != nil {
		b.Fatal(err)
	}
	for _, tokens := range []int{100, 1000} {
		b.Run(fmt.Sprintf("tokens=%d", tokens), func(b *testing.B) {
			prompt := make([]int32, tokens+1)
			for i := range prompt {
				prompt[i] = int32(100 + i*17%30000)
			}
			for b.Loop() {
				sequence, err := engine.NewSequence(context.Background(), modelID, prompt, batcher.SequenceOptions{})
				if err != nil {
					b.Fatal(err)
				}
				steps := &steps{engine: engine, rows: []batcher.Row{{Sequence: sequence, PromptTokens: tokens}}}
				steps.run(b, 1)
				steps.close()
			}
			b.ReportMetric(float64(b.N*tokens)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}

// steps are sequences that decode together.
type steps struct {
	engine *gpu.Engine
	rows   []batcher.Row

	dispatching time.Duration // the host's part of the steps
}

// newSteps prefills prompts of 16 to 100 tokens.
func newSteps(b *testing.B, engine *gpu.Engine, rows int) *steps {
	s := &steps{engine: engine}
	for i := range rows {
		prompt := make([]int32, 16+i*37%85)
		for k := range prompt {
			prompt[k] = int32(100 + (i*31+k*17)%30000)
		}
		sequence, err := engine.NewSequence(context.Background(), modelID, prompt, batcher.SequenceOptions{})
		if err != nil {
			b.Fatal(err)
		}
		s.rows = append(s.rows, batcher.Row{Sequence: sequence, PromptTokens: len(prompt) - 1})
	}
	s.run(b, 1)
	for i := range s.rows {
		s.rows[i].PromptTokens = 0
	}
	return s
}

// run runs n steps, as far ahead as the engine allows.
func (s *steps) run(b *testing.B, n int) {
	var flying []batcher.Step
	for dispatched := 0; dispatched < n || len(flying) > 0; {
		if dispatched < n && len(flying) <= s.engine.StepsAhead() {
			start := time.Now()
			step, err := s.engine.Dispatch(context.Background(), s.rows)
			if err != nil {
				b.Fatal(err)
			}
			s.dispatching += time.Since(start)
			flying = append(flying, step)
			dispatched++
			continue
		}
		results, err := flying[0].Wait(context.Background())
		if err != nil || results[0].Err != nil {
			b.Fatal(err, results[0].Err)
		}
		flying = flying[1:]
	}
}

func (s *steps) close() {
	for _, row := range s.rows {
		row.Sequence.Close()
	}
}
