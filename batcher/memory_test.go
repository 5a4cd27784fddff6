package batcher_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

// withMemory runs f on a bench whose caches may take so many tokens beside the first model.
func withMemory(t *testing.T, cfg batcher.Config, tokens int64, f func(t *testing.T, b *bench)) {
	t.Helper()
	inBubble(t, cfg, func(t *testing.T, b *bench) {
		if _, err := b.Unload(t.Context(), modelID, false); err != nil {
			t.Fatal(err)
		}
		b.engine.BytesPerToken, b.engine.Info.SizeBytes = 10, 1000
		b.engine.LimitBytes = 1000 + 10*tokens
		b.load(modelID)
		f(t, b)
	})
}

func TestWhatNeverFitsIsRefused(t *testing.T) {
	withMemory(t, batcher.Config{MaxRows: 4}, 100, func(t *testing.T, b *bench) {
		b.submit(batcher.Request{Prompt: prompt(90), MaxTokens: 10})
		b.submit(batcher.Request{Prompt: prompt(90), MaxTokens: 10}) // waits
		_, err := b.Submit(t.Context(), request(batcher.Request{Prompt: prompt(91), MaxTokens: 10}, discard{}))
		wantKind(t, err, fault.InsufficientMemory)
		wantData(t, err, fault.Data{"required_bytes": int64(1010), "available_bytes": int64(1000)})
		synctest.Wait()
		if got, want := b.Stats().Memory, (batcher.MemoryFigures{LimitBytes: 2000, WeightsBytes: 1000, ReservedBytes: 1000}); got != want {
			t.Errorf("memory %+v, want %+v", got, want)
		}
		if got := b.Stats(); got.Active != 1 || got.Queued != 1 || got.Rejected != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// A request that lacks memory is not overtaken by smaller ones of its class, of whatever model.
func TestMemoryIsGivenInOrder(t *testing.T) {
	withMemory(t, batcher.Config{MaxRows: 4}, 200, func(t *testing.T, b *bench) {
		b.engine.LimitBytes += 1000
		b.load("other")
		var order []int // of starts
		b.engine.OnSequence = func(_ string, prompt []int32) error {
			order = append(order, len(prompt)-1)
			return nil
		}
		submit := func(i int, model string, tokens int, p batcher.Priority) *batchertest.Recorder {
			_, out := b.submit(batcher.Request{ModelID: model, Prompt: prompt(i + 1), MaxTokens: tokens - i - 1, Priority: p})
			return out
		}
		submit(0, modelID, 100, batcher.PriorityDefault)
		synctest.Wait()
		big := submit(1, modelID, 150, batcher.PriorityDefault) // waits for the first one
		submit(2, modelID, 10, batcher.PriorityDefault)
		submit(3, "other", 10, batcher.PriorityDefault)
		submit(4, "other", 10, batcher.PriorityUrgent) // does not wait for them
		big.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []int{0, 4, 1, 2, 3}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if got := b.Stats().Memory.ReservedBytes; got != 0 {
			t.Errorf("%d bytes reserved", got)
		}
	})
}

func TestDeadlineWhileMemoryIsTaken(t *testing.T) {
	withMemory(t, batcher.Config{MaxRows: 4}, 200, func(t *testing.T, b *bench) {
		_, running := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 150})
		_, out := b.submit(batcher.Request{MaxTokens: 150, Timeout: 5 * stepTime})
		if f := out.Wait(); f.Reason != batcher.FinishTimeout || f.Stats.Total != 5*stepTime {
			t.Errorf("finish %+v", f)
		}
		running.Wait()
	})
}

// What was admitted may never fit once another model is there; it must not wait forever.
func TestAModelTakesTheMemoryOfAWaitingRequest(t *testing.T) {
	withMemory(t, batcher.Config{MaxRows: 4}, 200, func(t *testing.T, b *bench) {
		running, _ := b.submit(batcher.Request{MaxTokens: 150})
		_, never := b.submit(batcher.Request{MaxTokens: 150})
		_, small := b.submit(batcher.Request{Prompt: prompt(2), MaxTokens: 3})
		synctest.Wait()
		b.engine.Info.SizeBytes = 1900
		b.load("big")
		running.Cancel()
		f := never.Wait()
		wantKind(t, f.Err, fault.InsufficientMemory)
		if f := small.Wait(); f.Reason != batcher.FinishLength {
			t.Errorf("finish %+v", f)
		}
	})
}

// preempted runs a background request that loses its place to an urgent one.
func preempted(t *testing.T, cfg batcher.Config, tokens int64, ahead int) {
	withMemory(t, cfg, tokens, func(t *testing.T, b *bench) {
		b.engine.Ahead = ahead
		_, kept := b.submit(batcher.Request{Prompt: prompt(9), MaxTokens: 30, Priority: batcher.PriorityBackground})
		time.Sleep(stepTime)
		_, lost := b.submit(batcher.Request{Prompt: prompt(10), MaxTokens: 30, Priority: batcher.PriorityBackground})
		time.Sleep(10*stepTime + stepTime/2)
		before := lost.IDs()
		_, urgent := b.submit(batcher.Request{Prompt: prompt(5), MaxTokens: 30, Priority: batcher.PriorityUrgent})
		time.Sleep(10 * stepTime)
		if got := len(lost.IDs()) - len(before); got > 1 || len(before) < 5 {
			t.Errorf("%d tokens, then %d while the urgent one ran", len(before), got)
		}
		if f := urgent.Wait(); f.Stats.Queue > 2*stepTime {
			t.Errorf("urgent: %+v", f)
		}
		keptEnd, lostEnd := kept.Wait(), lost.Wait()
		for i, c := range []struct {
			out *batchertest.Recorder
			n   int
		}{{kept, 9}, {lost, 10}, {urgent, 5}} {
			if got, want := c.out.IDs(), b.engine.Completion(prompt(c.n), 30); !slices.Equal(got, want) {
				t.Errorf("request %d: tokens %v, want %v", i, got, want)
			}
		}
		if s := lostEnd.Stats; s.PromptTokens != 10 || s.CompletionTokens != 30 || s.TTFT > 5*stepTime || s.Queue > stepTime {
			t.Errorf("stats of the preempted: %+v", s)
		}
		if keptEnd.Stats.Total >= lostEnd.Stats.Total {
			t.Errorf("kept %v, lost %v", keptEnd.Stats.Total, lostEnd.Stats.Total)
		}
		if got := b.Stats(); got.Preempted != 1 || got.Memory.ReservedBytes != 0 || b.engine.Sequences() != 4 {
			t.Errorf("%d sequences, stats %+v", b.engine.Sequences(), got)
		}
	})
}

func TestPreemption(t *testing.T) {
	for ahead := range 2 {
		t.Run("rows", func(t *testing.T) { preempted(t, batcher.Config{MaxRows: 2}, 1000, ahead) })
		t.Run("memory", func(t *testing.T) { preempted(t, batcher.Config{MaxRows: 8}, 85, ahead) })
	}
}

func TestPreemptedRequestsCanEnd(t *testing.T) {
	for name, end := range map[string]func(b *bench, s *batcher.Stream){
		"cancel":  func(_ *bench, s *batcher.Stream) { s.Cancel() },
		"unload":  func(b *bench, _ *batcher.Stream) { _, _ = b.Unload(context.Background(), modelID, true) },
		"timeout": func(*bench, *batcher.Stream) { time.Sleep(20 * stepTime) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, batcher.Config{MaxRows: 1}, func(t *testing.T, b *bench) {
				b.engine.Ahead = 1
				s, out := b.submit(batcher.Request{MaxTokens: 100, Priority: batcher.PriorityBackground, Timeout: 20 * stepTime})
				time.Sleep(5*stepTime + stepTime/2)
				b.submit(batcher.Request{MaxTokens: 100, Priority: batcher.PriorityUrgent})
				time.Sleep(3 * stepTime)
				if b.Stats().Preempted != 1 {
					t.Fatal("not preempted")
				}
				end(b, s)
				f := out.Wait()
				if f.Reason == batcher.FinishLength || f.Stats.CompletionTokens != len(out.IDs()) || len(out.IDs()) < 3 {
					t.Errorf("finish %+v", f)
				}
			})
		})
	}
}

// Who is not of a higher class, or would not get enough, preempts nobody.
func TestNoPreemptionInVain(t *testing.T) {
	withMemory(t, batcher.Config{MaxRows: 2, AgeingInterval: time.Minute}, 200, func(t *testing.T, b *bench) {
		_, other := b.submit(batcher.Request{MaxTokens: 97}) // 100 tokens
		_, background := b.submit(batcher.Request{MaxTokens: 47, Priority: batcher.PriorityBackground})
		synctest.Wait()
		b.submit(batcher.Request{MaxTokens: 47, Priority: batcher.PriorityBackground})
		b.submit(batcher.Request{MaxTokens: 150, Priority: batcher.PriorityUrgent}) // even both halves are too little
		background.Wait()
		other.Wait()
		if got := b.Stats().Preempted; got != 0 {
			t.Errorf("%d preempted", got)
		}
	})
}

// Background requests that have aged are served like others, but not at the cost of their equals.
func TestAgedBackgroundPreemptsNoBackground(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 1, AgeingInterval: 20 * stepTime}, func(t *testing.T, b *bench) {
		_, first := b.submit(batcher.Request{MaxTokens: 100, Priority: batcher.PriorityBackground})
		_, second := b.submit(batcher.Request{MaxTokens: 1, Priority: batcher.PriorityBackground})
		time.Sleep(50 * stepTime)
		if got := b.Stats().Preempted; got != 0 {
			t.Fatalf("%d preempted", got)
		}
		// One that had not to wait long can be preempted when another priority is held up.
		_, third := b.submit(batcher.Request{MaxTokens: 1})
		third.Wait()
		second.Wait()
		if got := b.Stats().Preempted; got != 1 {
			t.Errorf("%d preempted", got)
		}
		if f := first.Wait(); !slices.Equal(first.IDs(), b.engine.Completion(prompt(3), 100)) {
			t.Errorf("finish %+v", f)
		}
	})
}

// However many urgent requests come, a background one gets its turn, and keeps it.
func TestNoStarvation(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 2, AgeingInterval: time.Second}, func(t *testing.T, b *bench) {
		stop := time.Now().Add(20 * time.Second)
		slot := 21 * stepTime // what an urgent one takes
		go func() {
			for time.Now().Before(stop) {
				b.submit(batcher.Request{MaxTokens: 20, Priority: batcher.PriorityUrgent})
				time.Sleep(slot / 3) // more than can be served
			}
		}()
		time.Sleep(time.Second)
		_, out := b.submit(batcher.Request{MaxTokens: 40, Priority: batcher.PriorityBackground})
		_, middle := b.submit(batcher.Request{MaxTokens: 40})
		if f := out.Wait(); f.Stats.Queue < time.Second || f.Stats.Queue > 3*time.Second+2*slot || f.Stats.Total-f.Stats.Queue > 45*stepTime {
			t.Errorf("background: %+v", f)
		}
		if f := middle.Wait(); f.Stats.Queue > 2*time.Second+2*slot {
			t.Errorf("default: %+v", f)
		}
		time.Sleep(time.Until(stop) + time.Minute)
	})
}

// Waiting counts over all preemptions, so that they come to an end; the gaps are the client's to
// see, but say nothing about steps.
func TestPreemptionsComeToAnEnd(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 1, AgeingInterval: 50 * stepTime}, func(t *testing.T, b *bench) {
		_, out := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 200, Priority: batcher.PriorityBackground})
		for range 10 {
			time.Sleep(20 * stepTime)
			_, urgent := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 15, Priority: batcher.PriorityUrgent})
			if b.Stats().Preempted < 4 {
				urgent.Wait()
			}
		}
		f := out.Wait()
		if got := b.Stats(); got.Preempted != 4 || got.Tuner.P99 != stepTime || got.Token.P99 <= stepTime {
			t.Errorf("stats %+v", got)
		}
		if got := out.IDs(); f.Reason != batcher.FinishLength || !slices.Equal(got, b.engine.Completion(prompt(1), 200)) {
			t.Errorf("finish %+v", f)
		}
	})
}
