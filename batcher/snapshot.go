package batcher

import "time"

// Snapshot holds a Batcher's figures at one moment. Latencies are of the last 1000 samples.
type Snapshot struct {
	Uptime time.Duration
	Active int     // requests in the engine
	Queued int     // requests that wait
	Queue  Latency // Submit to first step
	TTFT   Latency // Submit to first token
	Token  Latency // between tokens of one request
	Total  Latency // Submit to Done, of requests that finished with "stop" or "length"

	Submitted uint64 // requests admitted
	Rejected  uint64 // requests refused because the queue was full
	Completed uint64 // finished with "stop" or "length"
	Cancelled uint64
	TimedOut  uint64
	Failed    uint64

	PromptTokens     uint64 // prompt tokens computed
	CompletionTokens uint64
	Steps            uint64
	Wakeups          uint64 // times the idle scheduler was woken to look for work

	Throughput []Throughput // over the last 5, 30 and 60 s
	Batch      BatchFigures

	FastPathTotal     uint64 // requests that an idle worker started at once
	DegradationsTotal uint64 // always 0: one sequence at a time can't be degraded
}

// Latency summarises the samples of one duration.
type Latency struct {
	P50, P95, P99 time.Duration
	Count         uint64 // all samples so far, also those no longer kept
}

// Throughput is a rate over the last Window.
type Throughput struct {
	Window            time.Duration
	TokensPerSecond   float64
	RequestsPerSecond float64 // finished with "stop" or "length"
}

// BatchFigures describe the steps.
type BatchFigures struct {
	Rows    int            // rows of the latest step; 0 when idle
	MaxRows int            // row limit of a step
	Window  time.Duration  // longest time a request is held to share a prefill; here 0
	Sizes   map[int]uint64 // steps by number of rows
}

// Stats returns the current figures. It waits for nothing and makes no step wait.
func (b *Batcher) Stats() Snapshot {
	m := &b.metrics
	now := time.Now()
	s := Snapshot{
		Uptime: now.Sub(m.started),
		Active: int(m.active.Load()), Queued: int(m.queued.Load()),
		Queue: m.queueTime.latency(), TTFT: m.ttft.latency(), Token: m.interToken.latency(), Total: m.total.latency(),
		Submitted: m.submitted.Load(), Rejected: m.rejected.Load(),
		Completed: m.completed.Load(), Cancelled: m.cancelled.Load(), TimedOut: m.timedOut.Load(), Failed: m.failed.Load(),
		PromptTokens: m.promptTokens.Load(), CompletionTokens: m.completionTokens.Load(), Steps: m.steps.Load(), Wakeups: m.wakeups.Load(),
		FastPathTotal: m.fastPath.Load(),
		Batch:         BatchFigures{Rows: int(m.rows.Load()), MaxRows: b.maxRows, Sizes: map[int]uint64{}},
	}
	for _, window := range []time.Duration{5 * time.Second, 30 * time.Second, time.Minute} {
		s.Throughput = append(s.Throughput, Throughput{window, m.tokens.perSecond(now, window), m.requests.perSecond(now, window)})
	}
	for rows := range m.sizes {
		if n := m.sizes[rows].Load(); n > 0 {
			s.Batch.Sizes[rows] = n
		}
	}
	return s
}
