package batcher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
)

const window = 4 * time.Millisecond

// A request that finds the worker idle waits for those that are on their way.
func TestWindow(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name     string
		config   batcher.Config
		announce time.Duration   // so long a request is on its way; 0: none is
		arrivals []time.Duration // of further requests
		priority batcher.Priority
		queued   time.Duration // of the first request
		fast     uint64
	}{
		{name: "no window", config: batcher.Config{}, announce: time.Second, queued: 0, fast: 1},
		{name: "alone", config: batcher.Config{Window: window, FastPath: true}, queued: 0, fast: 1},
		{name: "alone without fast path", config: batcher.Config{Window: window}, queued: window},
		{name: "alone without fast path, nothing announced any more", config: batcher.Config{Window: window}, announce: ms, queued: window},
		{name: "another one announced", config: batcher.Config{Window: window, FastPath: true}, announce: 2*ms + 1, arrivals: []time.Duration{2 * ms}, queued: 2*ms + 1},
		{name: "announced and late", config: batcher.Config{Window: window, FastPath: true}, announce: time.Second, arrivals: []time.Duration{time.Second}, queued: window},
		{name: "its own announcement", config: batcher.Config{Window: window, FastPath: true}, announce: 1, queued: 1, fast: 1},
		{name: "rows taken", config: batcher.Config{Window: window, MaxRows: 3}, arrivals: []time.Duration{ms, 3 * ms}, queued: 3 * ms},
		{name: "urgent one comes", config: batcher.Config{Window: window}, arrivals: []time.Duration{ms}, priority: batcher.PriorityUrgent, queued: ms},
		{
			name:   "adaptive, low",
			config: batcher.Config{Window: time.Hour, AdaptiveWindow: &batcher.AdaptiveWindow{Low: ms, Medium: 10 * ms, High: 20 * ms}}, queued: ms,
		},
		{
			name:   "adaptive, medium when another comes",
			config: batcher.Config{AdaptiveWindow: &batcher.AdaptiveWindow{Low: 3 * ms, Medium: 10 * ms, High: 20 * ms}}, arrivals: []time.Duration{2 * ms}, queued: 10 * ms,
		},
		{
			name:   "adaptive, high",
			config: batcher.Config{AdaptiveWindow: &batcher.AdaptiveWindow{Low: 3 * ms, Medium: 10 * ms, High: 20 * ms}}, arrivals: []time.Duration{ms, ms, ms, ms, ms}, queued: 20 * ms,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.config.MaxRows == 0 {
				c.config.MaxRows = 16
			}
			inBubble(t, c.config, func(t *testing.T, b *bench) {
				done := func() {}
				if c.announce > 0 {
					done = b.Announce()
				}
				_, first := b.submit(batcher.Request{MaxTokens: 1})
				time.AfterFunc(c.announce, done)
				for _, at := range c.arrivals {
					time.AfterFunc(at, func() {
						b.submit(batcher.Request{MaxTokens: 1, Priority: c.priority})
					})
				}
				if got := first.Wait().Stats.Queue; got != c.queued {
					t.Errorf("it waited %v, want %v", got, c.queued)
				}
				time.Sleep(2 * time.Second)
				if got := b.Stats().FastPathTotal; c.announce < time.Second && got != c.fast {
					t.Errorf("fast path %d, want %d", got, c.fast)
				}
			})
		})
	}
}

// A burst of announced requests is one prefill.
func TestABurstSharesItsPrefill(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 16, Window: window, FastPath: true}, func(t *testing.T, b *bench) {
		outs := make([]*batchertest.Recorder, 8)
		for i := range outs {
			done := b.Announce()
			time.AfterFunc(time.Duration(i)*time.Millisecond/4, func() {
				_, outs[i] = b.submit(batcher.Request{Prompt: prompt(20), MaxTokens: 3})
				done()
				done() // is nothing more
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, out := range outs {
			out.Wait()
		}
		if got := b.engine.Steps(); got != 4 {
			t.Errorf("%d steps", got)
		}
		if got := b.Stats().Batch; got.Sizes[8] != 4 || got.Window != window {
			t.Errorf("batch %+v", got)
		}
	})
}

// While others run there is no window: the next step takes what is there.
func TestNoWindowBesideRunningRequests(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 16, Window: time.Hour, FastPath: true}, func(t *testing.T, b *bench) {
		b.submit(batcher.Request{MaxTokens: 100})
		time.Sleep(stepTime / 2)
		defer b.Announce()()
		_, out := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 1})
		if f := out.Wait(); f.Stats.Total > 3*stepTime {
			t.Errorf("finish %+v", f)
		}
	})
}

func TestHeldRequestsEndInTime(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 16, Window: time.Hour}, func(t *testing.T, b *bench) {
		_, expires := b.submit(batcher.Request{Timeout: time.Second})
		cancelled, out := b.submit(batcher.Request{})
		if f := expires.Wait(); f.Reason != batcher.FinishTimeout || f.Stats.Total != time.Second {
			t.Errorf("finish %+v", f)
		}
		cancelled.Cancel()
		if f := out.Wait(); f.Reason != batcher.FinishCancelled || f.Stats.Total != time.Second {
			t.Errorf("finish %+v", f)
		}
		synctest.Wait()
		before := b.Stats().Wakeups
		time.Sleep(10 * time.Hour)
		if got := b.Stats().Wakeups - before; got != 0 {
			t.Errorf("woken %d times in 10 idle hours", got)
		}
		_, drained := b.submit(batcher.Request{})
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if f := drained.Wait(); f.Reason != batcher.FinishLength || f.Stats.Queue != 0 {
			t.Errorf("finish %+v", f)
		}
	})
}
