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
	Preempted uint64 // background requests whose cache was dropped to be computed again

	PromptTokens     uint64 // prompt tokens computed
	CompletionTokens uint64
	Steps            uint64
	Wakeups          uint64 // times the idle scheduler was woken to look for work

	Throughput []Throughput // over the last 5, 30 and 60 s
	Batch      BatchFigures

	FastPathTotal     uint64 // requests that an idle worker started at once
	DegradationsTotal uint64 // times that the row limit was lowered because the latency target was missed; 0 with auto-tune
	RecoveriesTotal   uint64 // times that it was raised again
	Tuner             TunerFigures
	Memory            MemoryFigures
}

// TunerFigures describe what keeps the latency target.
type TunerFigures struct {
	Enabled       bool          // Config.AutoTune
	LatencyTarget time.Duration // P99 of inter-token latency to stay below
	P99           time.Duration // of the latest evaluation; 0: none yet
	P99Average    time.Duration // moving average over evaluations
	RowLimit      int           // rows that are admitted now
	Degraded      bool          // RowLimit is below what the configuration allows, for latency
	PrefillBudget int           // prompt tokens of the latest step that had decodes beside them
	Adjustments   uint64
}

// MemoryFigures are what admission by memory knows, in bytes.
type MemoryFigures struct {
	LimitBytes    int64 // for weights and caches; 0: unknown, nothing is refused
	WeightsBytes  int64 // of the loaded models
	ReservedBytes int64 // caches of the running requests at their longest
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
	Window  time.Duration  // longest time a request is held to share a prefill, as of the latest one
	Sizes   map[int]uint64 // steps by number of rows
}

// Totals returns the number of steps and the sum of their rows.
func (f BatchFigures) Totals() (steps, rows uint64) {
	for size, n := range f.Sizes {
		steps += n
		rows += uint64(size) * n
	}
	return steps, rows
}

// MeanRows is the mean number of rows of a step; 0 if there was none.
func (f BatchFigures) MeanRows() float64 {
	steps, rows := f.Totals()
	if steps == 0 {
		return 0
	}
	return float64(rows) / float64(steps)
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
		Preempted:    m.preempted.Load(),
		PromptTokens: m.promptTokens.Load(), CompletionTokens: m.completionTokens.Load(), Steps: m.steps.Load(), Wakeups: m.wakeups.Load(),
		Batch: BatchFigures{
			Rows: int(m.rows.Load()), MaxRows: b.cfg.mostRows(), Window: time.Duration(m.window.Load()), Sizes: map[int]uint64{},
		},
		FastPathTotal: m.fastPath.Load(), DegradationsTotal: m.degradations.Load(), RecoveriesTotal: m.recoveries.Load(),
		Tuner:  b.tunerFigures(),
		Memory: b.memoryFigures(),
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

func (b *Batcher) tunerFigures() TunerFigures {
	m := &b.metrics
	limit := m.rowLimit()
	return TunerFigures{
		Enabled: b.cfg.AutoTune != nil, LatencyTarget: b.cfg.LatencyTarget,
		P99: time.Duration(m.p99.Load()), P99Average: time.Duration(m.p99Average.Load()),
		RowLimit: limit, Degraded: limit < b.cfg.firstRows(),
		PrefillBudget: int(m.prefillBudget.Load()), Adjustments: m.adjustments.Load(),
	}
}

func (b *Batcher) memoryFigures() MemoryFigures {
	f := MemoryFigures{LimitBytes: b.engine.Memory().LimitBytes, ReservedBytes: b.metrics.reserved.Load()}
	for _, m := range *b.listed.Load() {
		f.WeightsBytes += m.state.Info.SizeBytes
	}
	return f
}
