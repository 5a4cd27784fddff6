package batcher

import (
	"testing"
	"time"
)

const ageing = 5 * time.Second

// queued enters requests of these priorities, a second apart.
func queued(q *queue, start time.Time, priorities ...Priority) []*Stream {
	var out []*Stream
	for i, p := range priorities {
		at := start.Add(time.Duration(i) * time.Second)
		s := &Stream{req: Request{Priority: p}, arrival: uint64(i), submitted: at, waitsSince: at}
		q.push(s)
		out = append(out, s)
	}
	return out
}

func (q *queue) pop(now time.Time) *Stream {
	s, _ := q.next(now, ageing)
	if s != nil {
		q.remove(s)
	}
	return s
}

func TestQueueOrderWithRemovals(t *testing.T) {
	var q queue
	start := time.Now()
	s := queued(&q, start, PriorityDefault, PriorityUrgent, PriorityBackground, PriorityDefault, PriorityUrgent, PriorityBackground)
	q.remove(s[1])
	q.all(func(each *Stream) {
		if each == s[3] {
			q.remove(each)
		}
	})
	for i, want := range []*Stream{s[4], s[0], s[2], s[5], nil} {
		if got := q.pop(start); got != want {
			t.Errorf("pop %d: %+v, want %+v", i, got, want)
		}
	}
	if q.len() != 0 {
		t.Errorf("%d left", q.len())
	}
}

func TestWaitingRaisesTheClass(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		priority Priority
		waited   time.Duration
		want     class
	}{
		{PriorityBackground, 0, classBackground},
		{PriorityBackground, ageing - 1, classBackground},
		{PriorityBackground, ageing, classDefault},
		{PriorityBackground, 2 * ageing, classUrgent},
		{PriorityBackground, 1000 * time.Hour, classUrgent},
		{PriorityDefault, ageing - 1, classDefault},
		{PriorityDefault, ageing, classUrgent},
		{PriorityUrgent, 0, classUrgent},
	} {
		s := &Stream{req: Request{Priority: c.priority}, waitsSince: start}
		if got := s.classAt(start.Add(c.waited), ageing); got != c.want {
			t.Errorf("priority %d after %v: class %d, want %d", c.priority, c.waited, got, c.want)
		}
	}
}

func TestAgedRequestsGoByArrival(t *testing.T) {
	var q queue
	start := time.Now()
	s := queued(&q, start, PriorityBackground, PriorityDefault, PriorityUrgent)
	// The background request is as good as a default one, the default one as an urgent one.
	now := start.Add(ageing + time.Second)
	for i, want := range []*Stream{s[1], s[2], s[0]} {
		if got := q.pop(now); got != want {
			t.Errorf("pop %d: %+v, want %+v", i, got, want)
		}
	}
}

// A preempted request has its old place among those of its class, which its time in the engine
// has not changed.
func TestPreemptedRequestsKeepTheirPlace(t *testing.T) {
	var q queue
	start := time.Now()
	s := queued(&q, start, PriorityBackground, PriorityBackground, PriorityDefault)
	q.remove(s[0])
	s[0].waitsSince = start.Add(3 * time.Second)
	q.pushResumed(s[0])
	if first, rank := q.next(start.Add(3*time.Second), ageing); first != s[2] || rank != classDefault {
		t.Errorf("first %+v of class %d", first, rank)
	}
	q.remove(s[2])
	if first, rank := q.next(start.Add(3*time.Second), ageing); first != s[0] || rank != classBackground {
		t.Errorf("first %+v of class %d", first, rank)
	}
	if first, rank := q.next(start.Add(7*time.Second), ageing); first != s[1] || rank != classDefault {
		t.Errorf("first %+v of class %d", first, rank)
	}
	if q.background() != 2 || q.urgent() {
		t.Errorf("%d background, urgent %v", q.background(), q.urgent())
	}
}
