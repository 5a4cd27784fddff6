package batcher

import "container/list"

// ranks are the priorities in the order in which they are served.
var ranks = [...]Priority{PriorityUrgent, PriorityDefault, PriorityBackground}

// queue holds the waiting requests: first in, first out within a priority.
type queue struct {
	byPriority [len(ranks)]list.List // indexed by Priority
	n          int
}

func (q *queue) len() int { return q.n }

func (q *queue) push(s *Stream) {
	s.queued = q.byPriority[s.req.Priority].PushBack(s)
	q.n++
}

func (q *queue) remove(s *Stream) {
	q.byPriority[s.req.Priority].Remove(s.queued)
	s.queued = nil
	q.n--
}

// pop removes and returns the request whose turn it is; nil if none waits.
func (q *queue) pop() *Stream {
	for _, p := range ranks {
		if front := q.byPriority[p].Front(); front != nil {
			s := front.Value.(*Stream)
			q.remove(s)
			return s
		}
	}
	return nil
}

// all calls f for every waiting request; f may remove it.
func (q *queue) all(f func(*Stream)) {
	for i := range q.byPriority {
		for e := q.byPriority[i].Front(); e != nil; {
			next := e.Next()
			f(e.Value.(*Stream))
			e = next
		}
	}
}
