package batcher

import (
	"sync"
	"time"
)

// hold is the state of requests that found the worker idle and are held so that others share
// their prefill. Under Batcher.mu.
type hold struct {
	on      bool
	waiting int // requests when it began
}

// window is how long requests are held, with so many of them waiting.
func (c *Config) window(waiting int) time.Duration {
	a := c.AdaptiveWindow
	switch {
	case a == nil:
		return c.Window
	case waiting <= 1:
		return a.Low
	case waiting <= 5:
		return a.Medium
	}
	return a.High
}

// Announce says that a request is on its way: with Config.FastPath an idle worker holds those
// that are there, for the window at most, so that they share their prefills. done takes it back
// when the request was submitted or failed; it is idempotent and may be called from any
// goroutine.
func (b *Batcher) Announce() (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announced++
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.announced--
		if b.announced == 0 && b.hold.on {
			b.notify()
		}
	})
}

// holdUntil is the time until which an idle worker holds the waiting requests; zero: they may
// start, and fast reports whether nothing held them up. b.mu is held.
func (b *Batcher) holdUntil(now time.Time) (until time.Time, fast bool) {
	window := b.cfg.window(b.waiting)
	b.metrics.window.Store(int64(window))
	first, urgent := now, false
	for _, m := range b.models {
		urgent = urgent || m.queue.urgent()
		m.queue.heads(func(s *Stream) {
			if s.submitted.Before(first) {
				first = s.submitted
			}
		})
	}
	until = first.Add(window)
	fast = !b.hold.on || b.waiting == b.hold.waiting && now.Before(until)
	if b.closing || urgent || b.cfg.FastPath && b.announced == 0 ||
		b.waiting >= b.metrics.rowLimit() || !now.Before(until) {
		b.hold = hold{}
		return time.Time{}, fast
	}
	if !b.hold.on {
		b.hold = hold{true, b.waiting}
	}
	return until, false
}
