package gpu_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/gpu"
	"mlx-worker/internal/fault"
)

// serve submits n random requests to a batcher on a real engine with a tiny model, all at once,
// and waits for those that were not refused.
func serve(t *testing.T, engine *gpu.Engine, config batcher.Config, n, longest int) (jobs []*job, refused int) {
	t.Helper()
	b := batcher.New(engine, config)
	loaded, err := b.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: tinyModel(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jobs = randomJobs(rand.New(rand.NewPCG(5, 5)), n, loaded.VocabSize, longest)
	outputs := make([]*batchertest.Recorder, len(jobs))
	for i, j := range jobs {
		out := batchertest.NewRecorder(t)
		_, err := b.Submit(context.Background(), batcher.Request{
			ModelID: modelID, Prompt: j.prompt, MaxTokens: j.tokens, Sequence: j.opts,
			Priority: batcher.Priority(i % 3), Output: out,
		})
		switch {
		case err == nil:
			outputs[i] = out
		case fault.Is(err, fault.QueueFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	for i, out := range outputs {
		if out == nil {
			continue
		}
		if f := out.Wait(); f.Reason != batcher.FinishLength {
			t.Fatalf("request %d ended with %+v", i, f)
		}
		for _, token := range out.Tokens() {
			jobs[i].completed = append(jobs[i].completed, batcher.StepResult{Token: token.ID, LogProb: token.LogProb, TopLogProbs: token.TopLogProbs})
		}
	}
	if err := b.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); int(s.Completed) != len(jobs)-refused || s.Memory.ReservedBytes != 0 {
		t.Errorf("stats %+v", s)
	}
	t.Cleanup(func() {
		if _, err := engine.Unload(context.Background(), modelID); err != nil {
			t.Error(err)
		}
		if got := engine.Memory().ActiveBytes; got != 0 {
			t.Errorf("%d bytes are left", got)
		}
	})
	return jobs, refused
}

// TestFiveHundredRequestsAtOnce: all complete, each as if it were alone.
func TestFiveHundredRequestsAtOnce(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	jobs, refused := serve(t, engine, batcher.Config{MaxQueue: 1000, MaxRows: 16}, 500, 60)
	if refused != 0 {
		t.Errorf("%d requests were refused", refused)
	}
	compared, steps := 0, 0
	for i, j := range jobs {
		if len(j.completed) != j.tokens {
			t.Fatalf("request %d has %d of %d tokens", i, len(j.completed), j.tokens)
		}
		alone := generate(t, engine, j.prompt, j.tokens, 64, j.opts)
		steps += len(j.completed)
		compared += compare(t, fmt.Sprintf("request %d", i), j.completed, alone, j.opts.Sampling.Temperature == 0)
	}
	expectMostCompared(t, compared, steps)
}

// TestAFullQueueRefusesAndServesTheRest on the same engine.
func TestAFullQueueRefusesAndServesTheRest(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	jobs, refused := serve(t, engine, batcher.Config{MaxQueue: 20, MaxRows: 4}, 200, 20)
	if refused == 0 || refused > len(jobs)-24 {
		t.Errorf("%d of %d requests were refused", refused, len(jobs))
	}
}
