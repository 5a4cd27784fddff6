package batcher

import "time"

// run is the scheduler's goroutine. It ends when the batcher is closing and nothing is left.
func (b *Batcher) run() {
	defer close(b.done)
	for {
		t, ok := b.turn()
		if !ok {
			return
		}
		told := b.apply(t)
		if len(b.active) > 0 {
			b.step()
			told = true
		}
		if len(b.active) == 0 {
			b.metrics.rows.Store(0)
		}
		if f := b.onStep.Load(); f != nil && told {
			(*f)()
		}
	}
}

// turn is what changed since the last step.
type turn struct {
	dropped []*Stream // ended while queued
	joining []*Stream // are to start
}

// turn waits until there is something to do and takes it. ok is false at the end.
func (b *Batcher) turn() (t turn, ok bool) {
	for {
		b.mu.Lock()
		b.expireQueued(time.Now())
		t.dropped, b.dropped = b.dropped, nil
		for b.running < b.maxRows && b.queue.len() > 0 {
			t.joining = append(t.joining, b.queue.pop())
			b.running++
		}
		if len(t.joining) > 0 {
			b.metrics.queued.Store(int64(b.queue.len()))
			b.metrics.active.Store(int64(b.running))
		}
		busy := b.running > 0 || len(t.dropped) > 0
		closing := b.closing
		b.mu.Unlock()

		switch {
		case busy:
			return t, true
		case closing:
			return t, false
		}
		<-b.wake
		b.metrics.wakeups.Add(1)
	}
}

// expireQueued ends waiting requests whose deadline has passed. Nothing wakes the loop for a
// deadline: requests wait only while others run. b.mu is held.
func (b *Batcher) expireQueued(now time.Time) {
	if b.nextDue.IsZero() || now.Before(b.nextDue) {
		return
	}
	b.nextDue = time.Time{}
	b.queue.all(func(s *Stream) {
		switch {
		case s.deadline.IsZero():
		case !now.Before(s.deadline):
			b.endEarly(s, &ending{reason: FinishTimeout})
		case b.nextDue.IsZero() || s.deadline.Before(b.nextDue):
			b.nextDue = s.deadline
		}
	})
}

// apply ends what is to end and starts what joins, and reports whether an Output was told.
func (b *Batcher) apply(t turn) (told bool) {
	for _, s := range t.dropped {
		b.finish(s, s.end.Load())
		told = true
	}
	now := time.Now()
	staying := b.active[:0]
	for _, s := range b.active {
		why := s.end.Load()
		if why == nil && !s.deadline.IsZero() && !now.Before(s.deadline) {
			why = &ending{reason: FinishTimeout}
		}
		if why == nil {
			staying = append(staying, s)
			continue
		}
		b.finish(s, why)
		told = true
	}
	clear(b.active[len(staying):])
	b.active = staying
	for _, s := range t.joining {
		if why := b.start(s); why != nil {
			b.finish(s, why)
			told = true
			continue
		}
		b.active = append(b.active, s)
	}
	return told
}
