package batcher

import (
	"container/list"
	"time"
)

// class is the order in which requests are served: lower goes first.
type class int

const (
	classUrgent class = iota
	classDefault
	classBackground
	classCount
)

// classOf is the class of each Priority.
var classOf = [...]class{PriorityDefault: classDefault, PriorityUrgent: classUrgent, PriorityBackground: classBackground}

// classAt is s's class at now: one better than its priority's for each interval that it waited.
// Time in the engine does not count, so that a preempted request comes back with the class that
// it had started with, behind the one that took its place.
func (s *Stream) classAt(now time.Time, interval time.Duration) class {
	aged := now.Sub(s.waitsSince) / interval
	return max(classUrgent, classOf[s.req.Priority]-class(min(aged, time.Duration(classCount))))
}

// queue holds the waiting requests of one model.
type queue struct {
	fresh   [classCount]list.List // by the priority's class, in order of arrival and so of ageing
	resumed list.List             // preempted ones: few, so they need no order
	n       int
}

func (q *queue) len() int { return q.n }

// push enters a request that has not run yet.
func (q *queue) push(s *Stream) { q.enter(&q.fresh[classOf[s.req.Priority]], s) }

// pushResumed enters a request that was preempted.
func (q *queue) pushResumed(s *Stream) { q.enter(&q.resumed, s) }

func (q *queue) enter(l *list.List, s *Stream) {
	s.queue, s.queued = l, l.PushBack(s)
	q.n++
}

func (q *queue) remove(s *Stream) {
	s.queue.Remove(s.queued)
	s.queue, s.queued = nil, nil
	q.n--
}

// next is the request whose turn it is, with its class; nil if none waits.
func (q *queue) next(now time.Time, ageing time.Duration) (best *Stream, rank class) {
	q.heads(func(s *Stream) {
		if c := s.classAt(now, ageing); best == nil || c < rank || c == rank && s.arrival < best.arrival {
			best, rank = s, c
		}
	})
	return best, rank
}

// heads calls f for every request that can be the next one or the oldest.
func (q *queue) heads(f func(*Stream)) {
	for i := range q.fresh {
		if front := q.fresh[i].Front(); front != nil {
			f(front.Value.(*Stream))
		}
	}
	each(&q.resumed, f)
}

// urgent reports whether a request of urgent priority waits.
func (q *queue) urgent() bool { return q.fresh[classUrgent].Len() > 0 }

// background is the number of waiting requests of background priority.
func (q *queue) background() int { return q.fresh[classBackground].Len() + q.resumed.Len() }

// all calls f for every waiting request; f may remove it.
func (q *queue) all(f func(*Stream)) {
	for i := range q.fresh {
		each(&q.fresh[i], f)
	}
	each(&q.resumed, f)
}

func each(l *list.List, f func(*Stream)) {
	for e := l.Front(); e != nil; {
		next := e.Next()
		f(e.Value.(*Stream))
		e = next
	}
}
