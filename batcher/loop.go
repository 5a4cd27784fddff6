package batcher

import "time"

// run is the scheduler's goroutine. It ends when the batcher is closing and nothing is left.
//
// A round takes what changed, dispatches at most one step, so that the queue is looked at
// before each, and waits for the oldest one unless another may be dispatched first.
func (b *Batcher) run() {
	defer close(b.done)
	for {
		told := b.reap(time.Now())
		t, ok := b.take(told)
		if !ok {
			return
		}
		told = b.apply(t) || told
		dispatched := b.dispatch()
		if told {
			b.emit()
		}
		if len(b.flying) > 0 && !(dispatched && b.mayDispatch()) {
			b.settle()
			b.emit()
		}
		if len(b.flying) == 0 && len(b.active) == 0 {
			b.metrics.rows.Store(0)
		}
	}
}

// reap ends the running requests that were cancelled or whose deadline has passed, and reports
// whether there was one.
func (b *Batcher) reap(now time.Time) (told bool) {
	for _, s := range b.active {
		why := s.end.Load()
		if why == nil && !s.deadline.IsZero() && !now.Before(s.deadline) {
			why = &ending{reason: FinishTimeout}
		}
		if why != nil {
			b.finish(s, why)
			told = true
		}
	}
	if told {
		b.forgetEnded()
	}
	return told
}

// forgetEnded takes the ended requests out of the active ones.
func (b *Batcher) forgetEnded() {
	staying := b.active[:0]
	for _, s := range b.active {
		if !s.ended {
			staying = append(staying, s)
		}
	}
	clear(b.active[len(staying):])
	b.active = staying
}

// turn is what changed since the last step.
type turn struct {
	dropped []*Stream // ended while queued
	joining []*Stream // are to start
}

// take waits until there is something to do, which there is at once if busy, and takes it. ok
// is false at the end.
func (b *Batcher) take(busy bool) (t turn, ok bool) {
	for {
		t, until, closing := b.changes(time.Now())
		switch {
		case busy || len(b.active)+len(b.flying)+len(t.dropped)+len(t.joining) > 0:
			return t, true
		case closing:
			return t, false
		}
		b.sleep(until)
	}
}

// changes takes what changed. If nothing did, until is when to look again, unless notified: zero
// is never, and closing says that nothing will come.
func (b *Batcher) changes(now time.Time) (t turn, until time.Time, closing bool) {
	idle := len(b.active) == 0
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expireQueued(now)
	var fast bool
	if idle && b.waiting > 0 {
		b.recover(now)
		until, fast = b.holdUntil(now)
	}
	if until.IsZero() {
		t.joining = b.admit(now)
	} else if !b.nextDue.IsZero() && b.nextDue.Before(until) {
		until = b.nextDue
	}
	for _, s := range t.joining {
		if fast && s.foundIdle {
			b.metrics.fastPath.Add(1)
		}
	}
	t.dropped, b.dropped = b.dropped, nil
	return t, until, b.closing
}

// sleep waits for a notification, or until a time if it is not zero.
func (b *Batcher) sleep(until time.Time) {
	var expired <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-b.wake:
	case <-expired:
	}
	b.metrics.wakeups.Add(1)
}

// apply ends what was dropped and starts what joins, and reports whether an Output was told.
func (b *Batcher) apply(t turn) (told bool) {
	for _, s := range t.dropped {
		b.finish(s, s.end.Load())
		told = true
	}
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
