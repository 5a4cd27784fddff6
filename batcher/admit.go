package batcher

import (
	"math"
	"time"

	"mlx-worker/internal/fault"
)

// enqueue enters a new request. b.mu is held.
func (b *Batcher) enqueue(s *Stream) {
	b.arrivals++
	s.arrival, s.waitsSince = b.arrivals, s.submitted
	s.model.queue.push(s)
	b.queueChanged(+1)
	b.due(s)
}

// dequeue takes a waiting request out. b.mu is held.
func (b *Batcher) dequeue(s *Stream) {
	s.model.queue.remove(s)
	b.queueChanged(-1)
}

func (b *Batcher) queueChanged(by int) {
	b.waiting += by
	b.metrics.queued.Store(int64(b.waiting))
}

// due remembers s's deadline while it waits. b.mu is held.
func (b *Batcher) due(s *Stream) {
	if !s.deadline.IsZero() && (b.nextDue.IsZero() || s.deadline.Before(b.nextDue)) {
		b.nextDue = s.deadline
	}
}

// expireQueued ends waiting requests whose deadline has passed. b.mu is held.
func (b *Batcher) expireQueued(now time.Time) {
	if b.nextDue.IsZero() || now.Before(b.nextDue) {
		return
	}
	b.nextDue = time.Time{}
	for _, m := range b.models {
		m.queue.all(func(s *Stream) {
			if !s.deadline.IsZero() && !now.Before(s.deadline) {
				b.endEarly(s, &ending{reason: FinishTimeout})
				return
			}
			b.due(s)
		})
	}
}

// admit starts waiting requests in order of class, then arrival, and returns them. b.mu is
// held; only the loop calls it.
//
// A model whose rows are taken is passed over: others have rows of their own. Memory is shared,
// so a request that lacks memory holds back all behind it, or smaller ones could take what
// becomes free forever.
func (b *Batcher) admit(now time.Time) (joining []*Stream) {
	if b.waiting == 0 {
		return nil
	}
	rows, room := b.metrics.rowLimit(), b.cacheRoom()
	for _, m := range b.models {
		m.passed = m.running >= rows && !b.hasVictim(m)
	}
	for {
		s, rank := b.next(now)
		if s == nil {
			return joining
		}
		victims, ok := b.makeRoom(s, rank, rows, room)
		switch {
		case ok:
			for _, v := range victims {
				b.preempt(v, now)
			}
			b.place(s, rank, now)
			joining = append(joining, s)
		case s.model.running >= rows:
			s.model.passed = true
		case b.running == 0: // a model was loaded since it was submitted
			b.endEarly(s, &ending{reason: FinishError, err: insufficient(s.reserve, room)})
		default:
			return joining
		}
	}
}

// next is the waiting request whose turn it is, of the models that are not passed over. b.mu is held.
func (b *Batcher) next(now time.Time) (best *Stream, rank class) {
	for _, m := range b.models {
		if m.passed || m.queue.len() == 0 {
			continue
		}
		s, c := m.queue.next(now, b.cfg.AgeingInterval)
		if best == nil || c < rank || c == rank && s.arrival < best.arrival {
			best, rank = s, c
		}
	}
	return best, rank
}

// place gives s a row and its memory. b.mu is held.
func (b *Batcher) place(s *Stream, rank class, now time.Time) {
	b.dequeue(s)
	s.running, s.rank, s.waited = true, rank, now.Sub(s.waitsSince)
	b.occupy(s, +1)
}

// vacate takes them back. b.mu is held.
func (b *Batcher) vacate(s *Stream) {
	s.running = false
	b.occupy(s, -1)
}

func (b *Batcher) occupy(s *Stream, by int) {
	b.running += by
	s.model.running += by
	b.reserved += int64(by) * s.reserve
	b.metrics.active.Store(int64(b.running))
	b.metrics.reserved.Store(b.reserved)
}

// unlimited is the room for caches where the engine knows no limit.
const unlimited = math.MaxInt64 / 2

// cacheRoom is what all caches may take together. b.mu is held.
func (b *Batcher) cacheRoom() int64 {
	limit := b.engine.Memory().LimitBytes
	if limit <= 0 {
		return unlimited
	}
	for _, m := range b.models {
		limit -= m.info.SizeBytes
	}
	return max(limit, 0)
}

func insufficient(required, available int64) *fault.Error {
	return fault.New(fault.InsufficientMemory, "the request may need %d bytes of memory for its cache; %d are there for all requests together", required, available).
		With("required_bytes", required).With("available_bytes", available)
}
