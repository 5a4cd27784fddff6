package exporter

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"mlx-worker/batcher"
)

// stats is the answer of /stats. The first block has the keys of the replaced system, less the
// least, greatest and mean latency, which would need every sample. Percentiles are of the last
// 1000 samples; names that end in _ms are milliseconds, in _bytes bytes.
type stats struct {
	Latency         latencyStats    `json:"latency"` // of whole requests
	Throughput      throughputStats `json:"throughput"`
	Batch           batchStats      `json:"batch"`
	QueueDepth      int             `json:"queue_depth"`
	ModeTransitions uint64          `json:"mode_transitions"`
	UptimeSeconds   float64         `json:"uptime_seconds"`
	Timestamp       float64         `json:"timestamp"` // Unix time in seconds

	TTFT       latencyStats   `json:"ttft"`
	InterToken latencyStats   `json:"inter_token"`
	QueueTime  latencyStats   `json:"queue_time"`
	Requests   requestStats   `json:"requests"`
	Tokens     tokenStats     `json:"tokens"`
	Scheduler  schedulerStats `json:"scheduler"`
	Memory     memoryStats    `json:"memory"`
}

type latencyStats struct {
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Count uint64  `json:"count"` // of all samples so far
}

type throughputStats struct {
	Tokens   map[string]float64 `json:"tokens_per_second"` // by window: "5s", "30s", "60s"
	Requests map[string]float64 `json:"requests_per_second"`
}

// batchStats describe the rows of steps: of the latest (0 when idle), and of all so far.
type batchStats struct {
	Current      int               `json:"current_size"`
	Min          int               `json:"min_size"`
	Max          int               `json:"max_size"`
	Mean         float64           `json:"mean_size"`
	Distribution map[string]uint64 `json:"distribution"` // steps by number of rows
}

type requestStats struct {
	Submitted uint64 `json:"submitted"`
	Running   int    `json:"running"`
	Completed uint64 `json:"completed"`
	Cancelled uint64 `json:"cancelled"`
	TimedOut  uint64 `json:"timed_out"`
	Failed    uint64 `json:"failed"`
	Rejected  uint64 `json:"rejected"`
	Preempted uint64 `json:"preempted"`
}

type tokenStats struct {
	Prompt     uint64 `json:"prompt"`
	Completion uint64 `json:"completion"`
}

type schedulerStats struct {
	Steps           uint64  `json:"steps"`
	Wakeups         uint64  `json:"wakeups"`
	FastPath        uint64  `json:"fast_path"`
	Window          float64 `json:"window_ms"`
	MaxRows         int     `json:"max_rows"`
	RowLimit        int     `json:"row_limit"`
	PrefillBudget   int     `json:"prefill_budget_tokens"`
	LatencyTarget   float64 `json:"latency_target_ms"`
	P99             float64 `json:"p99_ms"`
	P99Average      float64 `json:"p99_average_ms"`
	AutoTune        bool    `json:"auto_tune"`
	AutoAdjustments uint64  `json:"auto_tune_adjustments"`
	Degraded        bool    `json:"degraded"`
	Degradations    uint64  `json:"degradations"`
	Recoveries      uint64  `json:"recoveries"`
}

type memoryStats struct {
	Active   int64 `json:"active_bytes"`
	Cache    int64 `json:"cache_bytes"`
	Peak     int64 `json:"peak_bytes"`
	Limit    int64 `json:"limit_bytes"` // 0: unknown
	Weights  int64 `json:"weights_bytes"`
	Reserved int64 `json:"reserved_bytes"`
}

func newStats(s batcher.Snapshot, engine batcher.Memory, now time.Time) stats {
	t := s.Tuner
	return stats{
		Latency:         newLatencyStats(s.Total),
		Throughput:      newThroughputStats(s.Throughput),
		Batch:           newBatchStats(s.Batch),
		QueueDepth:      s.Queued,
		ModeTransitions: s.DegradationsTotal + s.RecoveriesTotal,
		UptimeSeconds:   s.Uptime.Seconds(),
		Timestamp:       float64(now.UnixMilli()) / 1000,

		TTFT:       newLatencyStats(s.TTFT),
		InterToken: newLatencyStats(s.Token),
		QueueTime:  newLatencyStats(s.Queue),
		Requests: requestStats{
			Submitted: s.Submitted, Running: s.Active, Completed: s.Completed, Cancelled: s.Cancelled,
			TimedOut: s.TimedOut, Failed: s.Failed, Rejected: s.Rejected, Preempted: s.Preempted,
		},
		Tokens: tokenStats{s.PromptTokens, s.CompletionTokens},
		Scheduler: schedulerStats{
			Steps: s.Steps, Wakeups: s.Wakeups, FastPath: s.FastPathTotal, Window: ms(s.Batch.Window),
			MaxRows: s.Batch.MaxRows, RowLimit: t.RowLimit, PrefillBudget: t.PrefillBudget,
			LatencyTarget: ms(t.LatencyTarget), P99: ms(t.P99), P99Average: ms(t.P99Average),
			AutoTune: t.Enabled, AutoAdjustments: t.Adjustments,
			Degraded: t.Degraded, Degradations: s.DegradationsTotal, Recoveries: s.RecoveriesTotal,
		},
		Memory: memoryStats{
			engine.ActiveBytes, engine.CacheBytes, engine.PeakBytes,
			s.Memory.LimitBytes, s.Memory.WeightsBytes, s.Memory.ReservedBytes,
		},
	}
}

func newLatencyStats(l batcher.Latency) latencyStats {
	return latencyStats{ms(l.P50), ms(l.P95), ms(l.P99), l.Count}
}

func newThroughputStats(rates []batcher.Throughput) throughputStats {
	t := throughputStats{map[string]float64{}, map[string]float64{}}
	for _, rate := range rates {
		t.Tokens[windowName(rate.Window)] = rate.TokensPerSecond
		t.Requests[windowName(rate.Window)] = rate.RequestsPerSecond
	}
	return t
}

func newBatchStats(b batcher.BatchFigures) batchStats {
	stats := batchStats{Current: b.Rows, Mean: b.MeanRows(), Distribution: map[string]uint64{}}
	for size, n := range b.Sizes {
		stats.Distribution[strconv.Itoa(size)] = n
	}
	if sizes := slices.Sorted(maps.Keys(b.Sizes)); len(sizes) > 0 {
		stats.Min, stats.Max = sizes[0], sizes[len(sizes)-1]
	}
	return stats
}
