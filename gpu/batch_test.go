package gpu_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
)

// job is a sequence of a random schedule.
type job struct {
	label  string
	prompt []int32
	tokens int
	chunk  int // prompt tokens of a chunk; 0: random
	opts   batcher.SequenceOptions

	sequence  batcher.Sequence
	left      int // prompt tokens to prefill
	started   int // decodes dispatched
	completed []batcher.StepResult
}

// randomJobs draws prompts and options. All report their two best log-probabilities, to compare
// by margin.
func randomJobs(r *rand.Rand, n, vocab, longest int) []*job {
	jobs := make([]*job, n)
	for i := range jobs {
		j := &job{tokens: 1 + r.IntN(40)}
		for range 1 + r.IntN(longest) {
			j.prompt = append(j.prompt, int32(r.IntN(vocab)))
		}
		j.opts = batcher.SequenceOptions{LogProbs: r.IntN(2) == 0, TopLogProbs: 2 + r.IntN(3)}
		if r.IntN(2) == 0 {
			j.opts.Sampling = batcher.Sampling{Temperature: 0.5 + r.Float64(), TopP: 1 - r.Float64()/3, Seed: r.Uint64()}
		}
		if r.IntN(3) == 0 {
			j.opts.Sampling.PenaltyTokens, j.opts.Sampling.RepetitionPenalty = 20, 1.3
		}
		jobs[i] = j
	}
	return jobs
}

// runTogether runs the jobs in steps of which each has every sequence that decodes and chunks of
// some that do not. Jobs come at random; those of which cancelled is true end in the middle. Up
// to ahead steps are dispatched before the first is waited for.
func runTogether(t *testing.T, engine *gpu.Engine, r *rand.Rand, jobs []*job, ahead int, cancelled func(*job) bool) {
	t.Helper()
	ctx := context.Background()
	type flight struct {
		step batcher.Step
		rows []*job // nil where the row is a chunk
	}
	var flights []flight
	waiting, active := slices.Clone(jobs), []*job(nil)
	land := func() {
		results, err := flights[0].step.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i, j := range flights[0].rows {
			if results[i].Err != nil {
				t.Fatal(results[i].Err)
			}
			if j == nil || !slices.Contains(active, j) { // a chunk, or ended since it was dispatched
				continue
			}
			j.completed = append(j.completed, results[i])
			if len(j.completed) == j.tokens || cancelled(j) {
				j.sequence.Close()
				active = slices.DeleteFunc(active, func(a *job) bool { return a == j })
			}
		}
		flights = flights[1:]
	}
	for len(waiting)+len(active)+len(flights) > 0 {
		for len(waiting) > 0 && len(active) < 9 && r.IntN(2) == 0 {
			j := waiting[0]
			waiting = waiting[1:]
			var err error
			if j.sequence, err = engine.NewSequence(ctx, modelID, j.prompt, j.opts); err != nil {
				t.Fatal(err)
			}
			j.left = len(j.prompt) - 1
			active = append(active, j)
		}
		var rows []batcher.Row
		f := flight{}
		for _, j := range active {
			switch {
			case j.left == 0 && j.started < j.tokens:
				rows = append(rows, batcher.Row{Sequence: j.sequence})
				f.rows = append(f.rows, j)
				j.started++
			case j.left > 0 && r.IntN(2) == 0:
				n := min(j.chunk, j.left)
				if j.chunk == 0 {
					n = 1 + r.IntN(j.left)
				}
				rows = append(rows, batcher.Row{Sequence: j.sequence, PromptTokens: n})
				f.rows = append(f.rows, nil)
				j.left -= n
			}
		}
		if len(rows) > 0 {
			// The engine keeps its own order.
			r.Shuffle(len(rows), func(a, b int) {
				rows[a], rows[b] = rows[b], rows[a]
				f.rows[a], f.rows[b] = f.rows[b], f.rows[a]
			})
			var err error
			if f.step, err = engine.Dispatch(ctx, rows); err != nil {
				t.Fatal(err)
			}
			flights = append(flights, f)
		}
		if len(flights) > ahead || len(rows) == 0 && len(flights) > 0 {
			land()
		}
	}
}

// compare checks a completion against a single run: tokens up to the first step at which the two
// best are too close, log-probabilities beside them. It returns the steps that it compared.
func compare(t *testing.T, label string, got, alone []batcher.StepResult, greedy bool) (compared int) {
	t.Helper()
	for i, g := range got {
		want := alone[i]
		if greedy && want.TopLogProbs[0].LogProb-want.TopLogProbs[1].LogProb < marginFP32 {
			return i
		}
		if g.Token != want.Token {
			t.Errorf("%s: token %d is %d, alone %d", label, i, g.Token, want.Token)
			return i
		}
		if math.Abs(float64(g.LogProb-want.LogProb)) > toleranceFP32*max(1, math.Abs(float64(want.LogProb))) {
			t.Errorf("%s: log-probability %d is %g, alone %g", label, i, g.LogProb, want.LogProb)
		}
		if g.TopLogProbs[0].Token != want.TopLogProbs[0].Token || len(g.TopLogProbs) != len(want.TopLogProbs) {
			t.Errorf("%s: likeliest tokens %d are %v, alone %v", label, i, g.TopLogProbs, want.TopLogProbs)
		}
	}
	return len(got)
}

// expectMostCompared keeps the margin rule from excusing too many steps.
func expectMostCompared(t *testing.T, compared, steps int) {
	t.Helper()
	if 4*compared < 3*steps {
		t.Errorf("only %d of %d steps have a margin to compare by", compared, steps)
	}
}

var batchModels = map[string]string{
	"full": tinyConfig,
	"sliding window": `{"model_type":"llama","hidden_size":64,"num_hidden_layers":3,"intermediate_size":96,
		"num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5,"vocab_size":160,"max_position_embeddings":512,
		"layer_types":["sliding_attention","full_attention","sliding_attention"],"sliding_window":20}`,
	"4 bit": `{"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"intermediate_size":96,
		"num_attention_heads":4,"num_key_value_heads":4,"rms_norm_eps":1e-5,"vocab_size":160,"max_position_embeddings":512,
		"quantization":{"group_size":32,"bits":4}}`,
}

// TestBatchEqualsSingleRuns runs random schedules whose sequences join, leave, are cancelled and
// outgrow their buffers, one and two steps at a time.
func TestBatchEqualsSingleRuns(t *testing.T) {
	for name, config := range batchModels {
		for ahead := range 2 {
			t.Run(fmt.Sprintf("%s, %d ahead", name, ahead), func(t *testing.T) {
				dir := t.TempDir()
				writeTinyLlama(t, dir, config, 7)
				compareSchedules(t, dir, ahead)
			})
		}
	}
}

// TestRecurrentBatchEqualsSingleRuns is TestBatchEqualsSingleRuns for models that keep states, some
// beside keys and values. The states of rows that leave must not be seen by those that come.
func TestRecurrentBatchEqualsSingleRuns(t *testing.T) {
	tiny := readTinyModels(t)
	for _, name := range []string{"falcon-h1", "mamba2", "qwen3-5-moe"} {
		t.Run(name, func(t *testing.T) {
			m, dir := tiny[name], t.TempDir()
			m.write(t, dir)
			compareSchedules(t, dir, 1)
		})
	}
}

// compareSchedules runs random schedules of the model in a folder, and each sequence by itself.
func compareSchedules(t *testing.T, dir string, ahead int) {
	t.Helper()
	engine := newEngine(t, gpu.Config{DenseWeights: "off"})
	info := loadModel(t, engine, dir)
	r := rand.New(rand.NewPCG(uint64(ahead), 3))
	compared, steps := 0, 0
	for round, longest := range []int{12, 60, 400} {
		jobs := randomJobs(r, 14, info.VocabSize, longest)
		victims := map[*job]int{}
		for _, j := range jobs {
			if r.IntN(4) == 0 {
				victims[j] = 1 + r.IntN(j.tokens)
			}
		}
		runTogether(t, engine, r, jobs, ahead, func(j *job) bool { return len(j.completed) == victims[j] })
		for i, j := range jobs {
			alone := generate(t, engine, j.prompt, j.tokens, 64, j.opts)
			if want, cut := victims[j]; !cut && len(j.completed) != j.tokens || cut && len(j.completed) != want {
				t.Errorf("round %d, job %d: %d tokens", round, i, len(j.completed))
			}
			steps += len(j.completed)
			compared += compare(t, fmt.Sprintf("round %d, job %d of %d prompt tokens", round, i, len(j.prompt)), j.completed, alone, j.opts.Sampling.Temperature == 0)
		}
	}
	expectMostCompared(t, compared, steps)
	if _, err := engine.Unload(context.Background(), modelID); err != nil {
		t.Fatal(err)
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("%d bytes are left", m.ActiveBytes)
	}
}
