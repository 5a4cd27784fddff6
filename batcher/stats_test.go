package batcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
)

func TestSnapshot(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		for range 4 {
			b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 25})
		}
		cancelled, _ := b.submit(batcher.Request{})
		time.Sleep(stepTime / 2)
		s := b.Stats()
		if s.Active != 1 || s.Queued != 4 || s.Submitted != 5 || s.Batch.Rows != 1 || s.Batch.MaxRows != 1 {
			t.Errorf("running: %+v", s)
		}
		cancelled.Cancel()
		if got := b.Stats().Queued; got != 3 {
			t.Errorf("%d queued after a cancel", got)
		}
		time.Sleep(time.Second - stepTime/2)
		synctest.Wait()

		s = b.Stats()
		if s.Active != 0 || s.Queued != 0 || s.Completed != 4 || s.Cancelled != 1 || s.CompletionTokens != 100 || s.PromptTokens != 4 ||
			s.Steps != 100 || s.Batch.Sizes[1] != 100 || s.Batch.Rows != 0 || s.Uptime != time.Second {
			t.Errorf("idle: %+v", s)
		}
		if want := (batcher.Latency{P50: stepTime, P95: stepTime, P99: stepTime, Count: 96}); s.Token != want {
			t.Errorf("between tokens: %+v", s.Token)
		}
		// Totals of 250, 500, 750 and 1000 ms.
		if s.Total.P50 != 625*time.Millisecond || s.Total.P99 < 990*time.Millisecond || s.Total.Count != 4 {
			t.Errorf("total: %+v", s.Total)
		}
		if s.TTFT.Count != 4 || s.Queue.Count != 4 || s.Queue.P50 != 375*time.Millisecond {
			t.Errorf("ttft %+v, queue %+v", s.TTFT, s.Queue)
		}
		for _, rate := range s.Throughput {
			if rate.TokensPerSecond < 99 || rate.TokensPerSecond > 101 || rate.RequestsPerSecond < 3.9 || rate.RequestsPerSecond > 4.1 {
				t.Errorf("throughput %+v", rate)
			}
		}

		// Rates decay when nothing happens.
		time.Sleep(6 * time.Second)
		s = b.Stats()
		if got := s.Throughput[0]; got.Window != 5*time.Second || got.TokensPerSecond != 0 {
			t.Errorf("%+v", got)
		}
		if got := s.Throughput[2]; got.Window != time.Minute || got.TokensPerSecond < 14 || got.TokensPerSecond > 15 {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Minute)
		if got := b.Stats().Throughput[2]; got.TokensPerSecond != 0 || got.RequestsPerSecond != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestFastPathCountsStartsFromIdle(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		for range 3 {
			_, out := b.submit(batcher.Request{})
			synctest.Wait()
			b.submit(batcher.Request{})
			out.Wait()
			time.Sleep(time.Second)
		}
		if got := b.Stats().FastPathTotal; got != 3 {
			t.Errorf("%d", got)
		}
	})
}

func TestIdleSchedulerSleeps(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, out := b.submit(batcher.Request{Timeout: time.Hour})
		out.Wait()
		synctest.Wait()
		before := b.Stats().Wakeups
		time.Sleep(10 * time.Hour)
		if got := b.Stats().Wakeups - before; got != 0 {
			t.Errorf("woken %d times in 10 idle hours", got)
		}
		if before == 0 {
			t.Error("the request has not woken it")
		}
	})
}

// Readers must get their answer while a step runs, and while an Output is busy.
func TestReadersDoNotWait(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.engine.OnStep = func(ctx, []batcher.Row) ([]error, error) { <-release; return nil, nil }
		s, out := b.submit(batcher.Request{MaxTokens: 1})
		time.Sleep(time.Second)
		start := time.Now()
		if got := b.Stats(); got.Active != 1 {
			t.Errorf("stats %+v", got)
		}
		if got := b.Models(); got[0].Streams != 1 {
			t.Errorf("models %+v", got)
		}
		if _, ready := b.Model(modelID); !ready {
			t.Error("not ready")
		}
		other, err := b.Submit(context.Background(), request(batcher.Request{}, discard{}))
		if err != nil || !other.Cancel() || !s.Cancel() {
			t.Errorf("Submit or Cancel failed: %v", err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("readers waited %v", got)
		}
		close(release)
		out.Wait()
	})
}
