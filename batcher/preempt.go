package batcher

import (
	"slices"
	"time"
)

// makeRoom returns the running background requests that have to go so that s can start, the
// one that started last first: it loses least. None are needed if there is room; ok is false
// if there isn't and can't be made. b.mu is held; only the loop calls it.
func (b *Batcher) makeRoom(s *Stream, rank class, rowLimit int, room int64) (victims []*Stream, ok bool) {
	rows := s.model.running + 1 - rowLimit
	bytes := b.reserved + s.reserve - room
	if (rows > 0 || bytes > 0) && !b.mayPreempt(s) {
		return nil, false
	}
	for _, v := range slices.Backward(b.active) {
		if rows <= 0 && bytes <= 0 {
			break
		}
		helps := rows > 0 && v.model == s.model || bytes > 0 && v.reserve > 0
		if !helps || rank >= v.rank || !v.preemptible() {
			continue
		}
		victims = append(victims, v)
		bytes -= v.reserve
		if v.model == s.model {
			rows--
		}
	}
	return victims, rows <= 0 && bytes <= 0
}

// mayPreempt reports whether s may take another's place. A background request that has aged may
// not, as that only swaps equals and computes prompts twice, unless it holds up requests of a
// higher priority. b.mu is held.
func (b *Batcher) mayPreempt(s *Stream) bool {
	if s.req.Priority != PriorityBackground {
		return true
	}
	for _, m := range b.models {
		if m.queue.len() > m.queue.background() {
			return true
		}
	}
	return false
}

// preemptible reports whether s may be preempted: it was of the background class when it
// started. One that had aged by then never is, so that every request ends. b.mu is held.
func (s *Stream) preemptible() bool {
	return s.running && s.rank == classBackground && s.end.Load() == nil
}

// hasVictim reports whether a running request of m may be preempted. b.mu is held.
func (b *Batcher) hasVictim(m *model) bool {
	return slices.ContainsFunc(b.active, func(s *Stream) bool { return s.model == m && s.preemptible() })
}

// preempt puts a running request back into the queue, at its old place in the order. Its
// sequence is closed; the next one takes the tokens so far as its prompt. A token that is still
// under way is dropped and sampled again, with the same number. b.mu is held.
func (b *Batcher) preempt(s *Stream, now time.Time) {
	s.close()
	s.base, s.resumed, s.foundIdle = s.completed, true, false
	b.active = slices.DeleteFunc(b.active, func(a *Stream) bool { return a == s })
	b.vacate(s)
	s.waitsSince = now.Add(-s.waited)
	s.model.queue.pushResumed(s)
	b.queueChanged(+1)
	b.due(s)
	b.metrics.preempted.Add(1)
}

// prompt is what the next sequence starts from.
func (s *Stream) prompt() []int32 {
	if s.base == 0 {
		return s.req.Prompt
	}
	return slices.Concat(s.req.Prompt, s.kept[:s.base])
}
