package batcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
)

// keepBusy has so many requests of 200 tokens under way, for good.
func (b *bench) keepBusy(requests int) {
	b.t.Helper()
	for range requests {
		go func() {
			for {
				out := batchertest.NewRecorder(b.t)
				_, err := b.Submit(context.Background(), request(batcher.Request{Prompt: prompt(1), MaxTokens: 200}, out))
				if err != nil || out.Wait().Reason != batcher.FinishLength {
					return
				}
			}
		}()
	}
}

// The row limit falls while tokens are late, and comes back when they are in time.
func TestDegradationAndRecovery(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 8, LatencyTarget: 100 * time.Millisecond}, func(t *testing.T, b *bench) {
		b.engine.SetTimes(10*time.Millisecond, 20*time.Millisecond, 0) // 8 rows: 170 ms, 4: 90, 2: 50
		b.keepBusy(10)
		time.Sleep(time.Minute) // those that run when the limit falls stay
		s := b.Stats()
		if s.DegradationsTotal != 1 || s.RecoveriesTotal != 0 || s.Batch.Rows != 4 || s.Batch.MaxRows != 8 {
			t.Errorf("degraded: %+v", s)
		}
		if got := s.Tuner; got.RowLimit != 4 || !got.Degraded || got.Enabled || got.P99 != 90*time.Millisecond || got.LatencyTarget != 100*time.Millisecond {
			t.Errorf("figures %+v", got)
		}
		b.engine.SetTimes(10*time.Millisecond, time.Millisecond, 0)
		time.Sleep(time.Minute)
		s = b.Stats()
		if s.DegradationsTotal != 1 || s.RecoveriesTotal != 1 || s.Batch.Rows != 8 || s.Tuner.RowLimit != 8 || s.Tuner.Degraded {
			t.Errorf("recovered: %+v", s)
		}
	})
}

func TestAnIdleWorkerStartsUndegraded(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 8, LatencyTarget: stepTime / 2, Window: window}, func(t *testing.T, b *bench) {
		for range 8 {
			b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 200})
		}
		time.Sleep(5 * time.Second)
		for _, c := range []struct {
			idle time.Duration
			rows int
			want uint64
		}{{0, 4, 0}, {6 * time.Second, 8, 1}} {
			time.Sleep(c.idle)
			limit := b.Stats().Tuner.RowLimit
			for range 8 {
				b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 2})
			}
			time.Sleep(stepTime / 2)
			if s := b.Stats(); s.RecoveriesTotal != c.want || c.want > 0 && s.Batch.Rows != c.rows || limit == 8 {
				t.Errorf("after %v: limit %d, %+v", c.idle, limit, s)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

func TestAutoTune(t *testing.T) {
	tune := &batcher.AutoTune{MinRows: 2, MaxRows: 12, Alpha: 0.3, Interval: 10}
	inBubble(t, batcher.Config{MaxRows: 8, LatencyTarget: 100 * time.Millisecond, AutoTune: tune}, func(t *testing.T, b *bench) {
		if got := b.Stats(); got.Tuner.RowLimit != 8 || got.Batch.MaxRows != 12 || !got.Tuner.Enabled {
			t.Errorf("at the start: %+v", got)
		}
		b.engine.SetTimes(10*time.Millisecond, time.Millisecond, 0)
		b.keepBusy(20)
		time.Sleep(20 * time.Second)
		if s := b.Stats(); s.Tuner.RowLimit != 12 || s.Batch.Rows != 12 || s.Tuner.Degraded {
			t.Errorf("with room: %+v", s)
		}
		b.engine.SetTimes(10*time.Millisecond, 20*time.Millisecond, 0) // 4 rows: 90 ms, 5: 110
		time.Sleep(10 * time.Minute)
		if s := b.Stats(); s.Tuner.RowLimit > 5 || s.Batch.Rows > 5 || !s.Tuner.Degraded || s.Tuner.Adjustments < 8 || s.DegradationsTotal != 0 {
			t.Errorf("without: %+v", s)
		}
		b.engine.SetTimes(10*time.Millisecond, time.Millisecond, 0)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := b.Stats(); s.Tuner.RowLimit != 12 {
			t.Errorf("with room again: %+v", s)
		}
	})
}
