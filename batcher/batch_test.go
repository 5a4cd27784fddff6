package batcher_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

// trace notes what the steps held: chunks and decodes by length of prompt.
type trace []map[int]int

func (b *bench) trace() *trace {
	var t trace
	b.engine.OnDispatch = func(rows []batcher.Row) error {
		step := map[int]int{}
		for _, row := range rows {
			step[len(row.Sequence.(*batchertest.Sequence).Prompt)] = row.PromptTokens
		}
		t = append(t, step)
		return nil
	}
	return &t
}

func equalSteps(got trace, want ...map[int]int) bool {
	return slices.EqualFunc(got, want, func(a, b map[int]int) bool {
		if len(a) != len(b) {
			return false
		}
		for key, value := range a {
			if other, ok := b[key]; !ok || other != value {
				return false
			}
		}
		return true
	})
}

func TestRequestsShareSteps(t *testing.T) {
	for ahead := range 2 {
		inBubble(t, batcher.Config{MaxRows: 4, Window: window}, func(t *testing.T, b *bench) {
			b.engine.Ahead = ahead
			steps := b.trace()
			_, first := b.submit(batcher.Request{Prompt: prompt(3), MaxTokens: 4})
			_, second := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 2})
			for i, out := range []*batchertest.Recorder{first, second} {
				out.Wait()
				n := []int{3, 1}[i]
				if want := b.engine.Completion(prompt(n), len(out.IDs())); !slices.Equal(out.IDs(), want) {
					t.Errorf("tokens %v, want %v", out.IDs(), want)
				}
			}
			if !equalSteps(*steps, map[int]int{3: 2, 1: 0}, map[int]int{3: 0, 1: 0}, map[int]int{3: 0}, map[int]int{3: 0}, map[int]int{3: 0}) {
				t.Errorf("steps %v", *steps)
			}
		})
	}
}

func TestRequestsJoinAndLeaveAtAnyStep(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 2}, func(t *testing.T, b *bench) {
		steps := b.trace()
		b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 6})
		time.Sleep(stepTime + stepTime/2)
		b.submit(batcher.Request{Prompt: prompt(2), MaxTokens: 1}) // leaves after two steps
		b.submit(batcher.Request{Prompt: prompt(4), MaxTokens: 1}) // waits for its row
		time.Sleep(time.Second)
		synctest.Wait()
		want := []map[int]int{{1: 0}, {1: 0}, {1: 0, 2: 1}, {1: 0, 2: 0}, {1: 0, 4: 3}, {1: 0, 4: 0}}
		if !equalSteps(*steps, want...) {
			t.Errorf("steps %v, want %v", *steps, want)
		}
	})
}

// Prompts share the budget of a step in order, urgent ones first.
func TestPromptsShareTheBudget(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 4, PrefillStepTokens: 100, Window: window}, func(t *testing.T, b *bench) {
		steps := b.trace()
		b.submit(batcher.Request{Prompt: prompt(51), MaxTokens: 1})
		b.submit(batcher.Request{Prompt: prompt(101), MaxTokens: 1})
		b.submit(batcher.Request{Prompt: prompt(31), MaxTokens: 1, Priority: batcher.PriorityUrgent})
		time.Sleep(time.Second)
		synctest.Wait()
		first := []map[int]int{{31: 30, 51: 50, 101: 16}, {31: 0, 51: 0}}
		if len(*steps) < 2 || !equalSteps((*steps)[:2], first...) {
			t.Errorf("steps %v, want first %v", *steps, first)
		}
	})
}

func TestModelsTakeTurns(t *testing.T) {
	for ahead := range 2 {
		inBubble(t, batcher.Config{MaxRows: 3, Window: window}, func(t *testing.T, b *bench) {
			b.engine.Ahead = ahead
			b.load("other")
			steps := b.trace()
			for i := range 4 { // of each model; the fourth one waits for a row
				b.submit(batcher.Request{Prompt: prompt(1 + 10*i), MaxTokens: 3})
				b.submit(batcher.Request{ModelID: "other", Prompt: prompt(2 + 10*i), MaxTokens: 3})
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for i, step := range (*steps)[:6] { // both have work until then
				for n := range step {
					if n%10 != 1+i%2 {
						t.Fatalf("steps %v: number %d is out of turn", *steps, i)
					}
				}
			}
			if got := b.engine.MaxRows(); got != 3 {
				t.Errorf("%d rows of one model", got)
			}
		})
	}
}

// A step is dispatched ahead of decodes, never of chunks.
func TestOneStepAhead(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 4, PrefillStepTokens: 16}, func(t *testing.T, b *bench) {
		b.engine.Ahead = 1
		var flying, prefilling int
		b.engine.OnDispatch = func(rows []batcher.Row) error {
			if prefilling > 0 {
				t.Errorf("a step was dispatched behind one with a chunk")
			}
			flying++
			if rows[len(rows)-1].PromptTokens > 0 {
				prefilling++
			}
			return nil
		}
		b.engine.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
			flying--
			if rows[len(rows)-1].PromptTokens > 0 {
				prefilling--
			}
			return nil, nil
		}
		_, first := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 20})
		time.Sleep(4*stepTime + stepTime/2)
		synctest.Wait()
		if flying != 2 {
			t.Errorf("%d steps under way", flying)
		}
		_, second := b.submit(batcher.Request{Prompt: prompt(40), MaxTokens: 5})
		for i, out := range []*batchertest.Recorder{first, second} {
			n, tokens := []int{1, 40}[i], []int{20, 5}[i]
			out.Wait()
			if got, want := out.IDs(), b.engine.Completion(prompt(n), tokens); !slices.Equal(got, want) {
				t.Errorf("tokens %v, want %v", got, want)
			}
		}
		// 20 tokens and 3 chunks beside them: nothing was computed in vain.
		if got := b.engine.Steps(); got != 20 {
			t.Errorf("%d steps", got)
		}
	})
}

// What ends when its token is read has a void row in the step ahead.
func TestAnEndVoidsTheStepAhead(t *testing.T) {
	tokens := make([]int32, 5)
	for i := range tokens {
		tokens[i] = batchertest.NextToken(prompt(3), i)
	}
	for name, r := range map[string]batcher.Request{
		"end of text": {EOSIDs: tokens[2:3]},
		"stop":        {},
		"limit":       {MaxTokens: 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, batcher.Config{MaxRows: 2}, func(t *testing.T, b *bench) {
				b.engine.Ahead = 1
				if r.MaxTokens == 0 {
					r.MaxTokens = 100
				}
				out := batchertest.NewRecorder(t)
				if name == "stop" {
					out.OnToken = func(token batcher.Token) bool { return token.ID == tokens[2] }
				}
				r.Output = out
				b.submit(r)
				_, other := b.submit(batcher.Request{MaxTokens: 8})
				out.Wait()
				if b.engine.Open() != 1 {
					t.Errorf("%d sequences are open", b.engine.Open())
				}
				other.Wait()
				if !slices.Equal(out.IDs(), tokens[:3]) || !slices.Equal(other.IDs(), b.engine.Completion(prompt(3), 8)) {
					t.Errorf("tokens %v and %v", out.IDs(), other.IDs())
				}
			})
		})
	}
}

// A failed step fails those that were in it, but not before the step under way has told its tokens.
func TestAStepThatFailsAhead(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 2, Window: window}, func(t *testing.T, b *bench) {
		b.engine.Ahead = 1
		b.engine.OnDispatch = func([]batcher.Row) error {
			if b.engine.Steps() == 2 { // the first one has been read, the second one has not
				b.engine.OnDispatch = nil
				return fault.New(fault.Generation, "broken")
			}
			return nil
		}
		_, ends := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 100, EOSIDs: []int32{batchertest.NextToken(prompt(1), 1)}})
		_, fails := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 100})
		if f := ends.Wait(); f.Reason != batcher.FinishStop || len(ends.IDs()) != 2 {
			t.Errorf("finish %+v", f)
		}
		if f := fails.Wait(); !fault.Is(f.Err, fault.Generation) || len(fails.IDs()) != 2 {
			t.Errorf("finish %+v", f)
		}
	})
}

// The model is not unloaded under a step that still holds ended requests.
func TestUnloadWaitsForTheStepAhead(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 2}, func(t *testing.T, b *bench) {
		b.engine.Ahead = 1
		_, out := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 100, EOSIDs: []int32{batchertest.NextToken(prompt(1), 3)}})
		out.Wait()
		start := time.Now()
		if _, err := b.Unload(t.Context(), modelID, false); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != stepTime {
			t.Errorf("it took %v, what the step ahead takes is %v", got, stepTime)
		}
	})
}

// A long prompt that arrives while others decode makes their tokens wait at most three times
// as long as before.
func TestALongPromptBesideDecodes(t *testing.T) {
	for ahead := range 2 {
		inBubble(t, batcher.Config{MaxRows: 16, LatencyTarget: time.Second}, func(t *testing.T, b *bench) {
			b.engine.Ahead = ahead
			b.engine.StepTime, b.engine.RowTime, b.engine.PromptTokenTime = 35*time.Millisecond, 3*time.Millisecond, 2*time.Millisecond
			_, warm := b.submit(batcher.Request{Prompt: prompt(100), MaxTokens: 5})
			warm.Wait()
			for range 8 {
				b.submit(batcher.Request{Prompt: prompt(20), MaxTokens: 600})
			}
			time.Sleep(10 * time.Second)
			before := b.Stats().Token
			_, long := b.submit(batcher.Request{Prompt: prompt(2000), MaxTokens: 1})
			f := long.Wait()
			beside := b.Stats().Token
			if median, worst := before.P50, beside.P99; worst > 3*median || worst < 3*median/2 {
				t.Errorf("median %v before, P99 %v beside the prompt", median, worst)
			}
			if f.Stats.TTFT > 12*time.Second {
				t.Errorf("the prompt took %v", f.Stats.TTFT)
			}
			for _, n := range b.engine.Chunks() {
				if n > 64 && n != 99 && n != 152 { // 99: the warm-up, 152: the eight prompts
					t.Errorf("a chunk of %d tokens", n)
				}
			}
			if got := b.Stats().Tuner.PrefillBudget; got == 0 || got > 64 {
				t.Errorf("prefill budget %d", got)
			}
		})
	}
}

// Decodes of one model wait for the steps of another: its prompts come in small chunks, too.
func TestALongPromptOfAnotherModel(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 4}, func(t *testing.T, b *bench) {
		b.load("other")
		b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 1000})
		time.Sleep(10 * stepTime)
		_, out := b.submit(batcher.Request{ModelID: "other", Prompt: prompt(2000), MaxTokens: 1})
		out.Wait()
		if got := b.Stats().Token.P99; got > 4*stepTime {
			t.Errorf("P99 %v between tokens", got)
		}
	})
}

func TestManyRequestsAtOnce(t *testing.T) {
	for _, c := range []struct{ queue, rows, want int }{{1000, 16, 500}, {100, 16, 116}} {
		for ahead := range 2 {
			inBubble(t, batcher.Config{MaxRows: c.rows, MaxQueue: c.queue}, func(t *testing.T, b *bench) {
				b.engine.Ahead = ahead
				admitted := map[int]*batchertest.Recorder{}
				for i := range 500 {
					out := batchertest.NewRecorder(t)
					r := request(batcher.Request{Prompt: prompt(1 + i), MaxTokens: 1 + i%40}, out)
					_, err := b.Submit(t.Context(), r)
					if err == nil {
						admitted[i] = out
						continue
					}
					wantKind(t, err, fault.QueueFull)
				}
				if len(admitted) != c.want {
					t.Errorf("%d admitted, want %d", len(admitted), c.want)
				}
				for i, out := range admitted {
					f := out.Wait()
					if want := b.engine.Completion(prompt(1+i), 1+i%40); f.Reason != batcher.FinishLength || !slices.Equal(out.IDs(), want) {
						t.Errorf("request %d: %+v", i, f)
					}
				}
				synctest.Wait()
				if got := b.Stats(); got.Completed != uint64(c.want) || got.Active != 0 || got.Batch.Rows != 0 {
					t.Errorf("stats %+v", got)
				}
			})
		}
	}
}
