package batcher

import (
	"slices"
	"sync/atomic"
	"time"
)

// metrics are written without locks, by the loop (rings, rates) or by anyone (counters), and
// read without locks: a reader may see a sample more or less, never a torn one.
type metrics struct {
	started time.Time

	queued, active, rows, reserved                  atomic.Int64
	submitted, rejected                             atomic.Uint64
	completed, cancelled, timedOut, failed          atomic.Uint64
	promptTokens, completionTokens, steps, fastPath atomic.Uint64
	preempted, wakeups                              atomic.Uint64

	limit                                  atomic.Int64 // rows of a model that are admitted now
	window, p99, p99Average, prefillBudget atomic.Int64
	degradations, recoveries, adjustments  atomic.Uint64

	queueTime, ttft, interToken, total ring
	tokens, requests                   rate
	sizes                              []atomic.Uint64 // steps by number of rows
	service                            atomic.Int64    // moving average of start to Done, ns
}

func (m *metrics) init(c Config, now time.Time) {
	m.started = now
	m.tokens.started, m.requests.started = now, now
	m.sizes = make([]atomic.Uint64, c.mostRows()+1)
	m.limit.Store(int64(c.firstRows()))
	m.window.Store(int64(c.window(0)))
}

// rowLimit is how many rows of a model are admitted now.
func (m *metrics) rowLimit() int { return int(m.limit.Load()) }

func (m *metrics) stepped(f *flight) {
	m.rows.Store(int64(len(f.rows)))
	m.steps.Add(1)
	m.sizes[len(f.rows)].Add(1)
	if f.decodes > 0 && f.prompt > 0 {
		m.prefillBudget.Store(int64(f.prompt))
	}
}

func (m *metrics) finished(s *Stream, reason FinishReason, now time.Time) {
	switch reason {
	case FinishStop, FinishLength:
		m.completed.Add(1)
		m.requests.add(now)
		m.total.add(now.Sub(s.submitted))
	case FinishCancelled:
		m.cancelled.Add(1)
	case FinishTimeout:
		m.timedOut.Add(1)
	case FinishError:
		m.failed.Add(1)
	}
	if !s.startedAt.IsZero() {
		m.served(now.Sub(s.startedAt))
	}
}

// served adds a sample to the average time that a request occupies its row.
func (m *metrics) served(d time.Duration) {
	average := time.Duration(m.service.Load())
	if average == 0 {
		average = d
	}
	m.service.Store(int64(average + (d-average)/5))
}

// retryAfter is when a place in the queue is likely to be free: when the next row ends.
func (m *metrics) retryAfter() time.Duration {
	average := time.Duration(m.service.Load())
	if average == 0 {
		return time.Second
	}
	return min(max(average/time.Duration(m.rowLimit()), 10*time.Millisecond), time.Minute)
}

// ring keeps the last samples of a duration. One goroutine writes.
type ring struct {
	samples [1000]atomic.Int64
	n       atomic.Uint64
}

func (r *ring) add(d time.Duration) {
	n := r.n.Load()
	r.samples[n%uint64(len(r.samples))].Store(int64(d))
	r.n.Store(n + 1)
}

func (r *ring) latency() Latency {
	count := r.n.Load()
	samples := make([]int64, min(count, uint64(len(r.samples))))
	for i := range samples {
		samples[i] = r.samples[i].Load()
	}
	slices.Sort(samples)
	return Latency{
		P50: percentile(samples, 0.50), P95: percentile(samples, 0.95), P99: percentile(samples, 0.99),
		Count: count,
	}
}

// percentile interpolates linearly at p*(n-1) of sorted samples; 0 without any.
func percentile(sorted []int64, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := p * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return time.Duration(float64(sorted[low]) + (at-float64(low))*float64(sorted[high]-sorted[low]))
}
