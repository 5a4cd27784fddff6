package batcher_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
)

func TestTokensAreTheEngines(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, out := b.submit(batcher.Request{MaxTokens: 7, Sequence: batcher.SequenceOptions{LogProbs: true}})
		f := out.Wait()
		if f.Reason != batcher.FinishLength || f.Err != nil || f.StopTokenID != nil {
			t.Errorf("finish %+v", f)
		}
		if got, want := out.IDs(), b.engine.Completion(prompt(3), 7); !slices.Equal(got, want) {
			t.Errorf("tokens %v, want %v", got, want)
		}
		if token := out.Tokens()[0]; token.LogProb != -0.5 || token.EndOfText {
			t.Errorf("token %+v", token)
		}
	})
}

func TestPrefillLeavesOneToken(t *testing.T) {
	for _, c := range []struct {
		prompt int
		chunks []int
	}{
		{1, nil}, {2, []int{1}}, {80, []int{79}}, {81, []int{80}}, {82, []int{80, 1}}, {290, []int{80, 80, 80, 49}},
	} {
		inBubble(t, batcher.Config{PrefillStepTokens: 85}, func(t *testing.T, b *bench) {
			_, out := b.submit(batcher.Request{Prompt: prompt(c.prompt), MaxTokens: 1})
			out.Wait()
			if got := b.engine.Chunks(); !slices.Equal(got, c.chunks) {
				t.Errorf("prompt of %d: chunks %v, want %v", c.prompt, got, c.chunks)
			}
			if got := len(out.IDs()); got != 1 {
				t.Errorf("%d tokens", got)
			}
		})
	}
}

// The first chunk is a guess, the others are as long as the time for a step allows.
func TestChunksOfALonePrompt(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.StepTime, b.engine.PromptTokenTime = 0, time.Millisecond
		_, out := b.submit(batcher.Request{Prompt: prompt(1600), MaxTokens: 1})
		out.Wait()
		if got, want := b.engine.Chunks(), []int{512, 496, 496, 95}; !slices.Equal(got, want) {
			t.Errorf("chunks %v, want %v", got, want)
		}
	})
}

func TestContextEndsACompletion(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, out := b.submit(batcher.Request{Prompt: prompt(4090), MaxTokens: 100})
		if f := out.Wait(); f.Reason != batcher.FinishLength || f.Stats.CompletionTokens != 6 {
			t.Errorf("finish %+v", f)
		}
	})
}

func TestEndsOfACompletion(t *testing.T) {
	tokens := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = batchertest.NextToken(prompt(3), i)
		}
		return out
	}(5)
	third := func(token batcher.Token) bool { return token.ID == tokens[2] }
	for _, c := range []struct {
		name    string
		request batcher.Request
		onToken func(batcher.Token) bool
		n       int
		reason  batcher.FinishReason
		id      int32 // 0: no StopTokenID
	}{
		{"end of text", batcher.Request{EOSIDs: []int32{1, tokens[1]}}, nil, 2, batcher.FinishStop, tokens[1]},
		{"end of text ignored", batcher.Request{EOSIDs: []int32{tokens[1]}, IgnoreEOS: true}, nil, 5, batcher.FinishLength, 0},
		{"stop id", batcher.Request{StopIDs: []int32{tokens[3]}}, nil, 4, batcher.FinishStop, tokens[3]},
		{"stop id with end of text ignored", batcher.Request{StopIDs: []int32{tokens[3]}, EOSIDs: []int32{tokens[1]}, IgnoreEOS: true}, nil, 4, batcher.FinishStop, tokens[3]},
		{"stop sequence", batcher.Request{}, third, 3, batcher.FinishStop, 0},
		{"end of text as the last token allowed", batcher.Request{EOSIDs: []int32{tokens[4]}}, nil, 5, batcher.FinishStop, tokens[4]},
		{"stop sequence in the last token allowed", batcher.Request{MaxTokens: 3}, third, 3, batcher.FinishStop, 0},
		{"one token", batcher.Request{MaxTokens: 1}, nil, 1, batcher.FinishLength, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
				out := batchertest.NewRecorder(t)
				out.OnToken = c.onToken
				c.request.Output = out
				b.submit(c.request)
				f := out.Wait()
				if got := out.IDs(); !slices.Equal(got, tokens[:c.n]) {
					t.Errorf("tokens %v, want %v", got, tokens[:c.n])
				}
				if f.Reason != c.reason || f.Stats.CompletionTokens != c.n {
					t.Errorf("finish %+v, want %s after %d", f, c.reason, c.n)
				}
				if (f.StopTokenID != nil) != (c.id != 0) || c.id != 0 && *f.StopTokenID != c.id {
					t.Errorf("stop id %v, want %d", f.StopTokenID, c.id)
				}
				if last := out.Tokens()[c.n-1]; last.EndOfText != (c.id != 0) {
					t.Errorf("last token %+v", last)
				}
			})
		})
	}
}

func TestStatsOfARequest(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		// The first runs for: prefill of 200 tokens (1 + 2 steps), 3 decodes.
		_, first := b.submit(batcher.Request{Prompt: prompt(201), MaxTokens: 3})
		_, second := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 2})
		want := batcher.Stats{
			PromptTokens: 201, CompletionTokens: 3,
			Prefill: 4 * stepTime, TTFT: 4 * stepTime, Decode: 2 * stepTime, Total: 6 * stepTime,
		}
		if got := first.Wait().Stats; got != want {
			t.Errorf("first  %+v\nwant   %+v", got, want)
		}
		want = batcher.Stats{
			PromptTokens: 1, CompletionTokens: 2,
			Queue: 6 * stepTime, Prefill: stepTime, TTFT: 7 * stepTime, Decode: stepTime, Total: 8 * stepTime,
		}
		if got := second.Wait().Stats; got != want {
			t.Errorf("second %+v\nwant   %+v", got, want)
		}
	})
}

func TestOneSequenceAtATime(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.load("other")
		var outs []*batchertest.Recorder
		for i := range 10 {
			id := modelID
			if i%2 == 1 {
				id = "other"
			}
			_, out := b.submit(batcher.Request{ModelID: id, Prompt: prompt(i + 1)})
			outs = append(outs, out)
		}
		for i, out := range outs {
			out.Wait()
			if got, want := out.IDs(), b.engine.Completion(prompt(i+1), 5); !slices.Equal(got, want) {
				t.Errorf("request %d: tokens %v, want %v", i, got, want)
			}
		}
		if got := b.engine.MaxRows(); got != 1 {
			t.Errorf("%d rows in a step", got)
		}
	})
}

func TestOrderIsPriorityThenArrival(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, running := b.submit(batcher.Request{})
		synctest.Wait() // it has left the queue
		var order []int
		for i, p := range []batcher.Priority{
			batcher.PriorityBackground, batcher.PriorityDefault, batcher.PriorityUrgent,
			batcher.PriorityDefault, batcher.PriorityUrgent, batcher.PriorityBackground,
		} {
			out := batchertest.NewRecorder(t)
			out.OnToken = func(batcher.Token) bool { order = append(order, i); return true }
			b.submit(batcher.Request{Priority: p, Output: out})
		}
		running.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []int{2, 4, 1, 3, 0, 5}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestOnStepFollowsTheOutputs(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		var events []string
		out := batchertest.NewRecorder(t)
		out.OnToken = func(batcher.Token) bool { events = append(events, "token"); return false }
		b.OnStep(func() { events = append(events, "step") })
		b.submit(batcher.Request{Prompt: prompt(2), MaxTokens: 2, Output: out})
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"step", "token", "step", "token", "step"}; !slices.Equal(events, want) {
			t.Errorf("events %v, want %v", events, want)
		}
		// A request that ends without a step must be emitted, too.
		_, blocker := b.submit(batcher.Request{})
		waiting, waitingOut := b.submit(batcher.Request{})
		blocker.Wait()
		waiting.Cancel()
		waitingOut.Wait()
		synctest.Wait()
		if events[len(events)-1] != "step" {
			t.Errorf("events %v", events)
		}
	})
}

// An end between two steps is emitted before the next one is waited for, and also if none follows.
func TestOnStepFollowsAnEndBetweenSteps(t *testing.T) {
	for _, more := range []int{0, 3} {
		inBubble(t, batcher.Config{MaxRows: 2, Window: window}, func(t *testing.T, b *bench) {
			var emitted []time.Duration
			start := time.Now() // of both requests: the window ends when all rows are taken
			b.OnStep(func() { emitted = append(emitted, time.Since(start)) })
			victim, ended := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 100})
			canceller := batchertest.NewRecorder(t)
			canceller.OnToken = func(batcher.Token) bool {
				if len(canceller.IDs()) == 2 {
					victim.Cancel() // its own token of this step was told before
				}
				return false
			}
			b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 2 + more, Output: canceller})
			if f := ended.Wait(); f.Stats.CompletionTokens != 2 {
				t.Errorf("finish %+v", f)
			}
			canceller.Wait()
			synctest.Wait()
			want := []time.Duration{stepTime, 2 * stepTime, 2 * stepTime, 3 * stepTime, 4 * stepTime, 5 * stepTime}[:3+more]
			if !slices.Equal(emitted, want) {
				t.Errorf("emitted at %v, want %v", emitted, want)
			}
		})
	}
}
