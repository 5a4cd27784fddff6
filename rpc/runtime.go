package rpc

import (
	"context"
	"strconv"
	"time"

	"mlx-worker/batcher"
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

type memoryResult struct {
	ActiveBytes int64 `msgpack:"active_bytes"`
	CacheBytes  int64 `msgpack:"cache_bytes"`
	PeakBytes   int64 `msgpack:"peak_bytes"`
	RSSBytes    int64 `msgpack:"rss_bytes"`
}

type infoResult struct {
	Info     `msgpack:",inline"`
	Memory   memoryResult `msgpack:"memory"`
	UptimeMs float64      `msgpack:"uptime_ms"`
}

func (s *server) runtimeInfo(context.Context, args) (any, error) {
	m := s.opts.Memory()
	return infoResult{
		Info:     s.opts.Info,
		Memory:   memoryResult{m.ActiveBytes, m.CacheBytes, m.PeakBytes, s.opts.RSS()},
		UptimeMs: ms(time.Since(s.started)),
	}, nil
}

type modelStateResult struct {
	ModelID string `msgpack:"model_id"`
	State   string `msgpack:"state"`
	Type    string `msgpack:"type"`
}

type stateResult struct {
	LoadedModels  []modelStateResult `msgpack:"loaded_models"`
	ActiveStreams int                `msgpack:"active_streams"`
	Queued        int                `msgpack:"queued"`
	RestartCount  int                `msgpack:"restart_count"`
}

func (s *server) runtimeState(context.Context, args) (any, error) {
	stats := s.opts.Batcher.Stats()
	r := stateResult{LoadedModels: []modelStateResult{}, ActiveStreams: stats.Active, Queued: stats.Queued}
	for _, m := range s.opts.Batcher.Models() {
		r.LoadedModels = append(r.LoadedModels, modelStateResult{m.ModelID, string(m.Phase), "text"})
	}
	return r, nil
}

type latencyResult struct {
	P50   float64 `msgpack:"p50"`
	P95   float64 `msgpack:"p95"`
	P99   float64 `msgpack:"p99"`
	Count uint64  `msgpack:"count"`
}

type latenciesResult struct {
	Queue      latencyResult `msgpack:"queue"`
	TTFT       latencyResult `msgpack:"ttft"`
	InterToken latencyResult `msgpack:"inter_token"`
	Total      latencyResult `msgpack:"total"`
}

type batchFigures struct {
	Rows     int               `msgpack:"rows"`
	MaxRows  int               `msgpack:"max_rows"`
	WindowMs float64           `msgpack:"window_ms"`
	Sizes    map[string]uint64 `msgpack:"sizes"`
}

type requestFigures struct {
	Submitted uint64 `msgpack:"submitted"`
	Rejected  uint64 `msgpack:"rejected"`
	Completed uint64 `msgpack:"completed"`
	Cancelled uint64 `msgpack:"cancelled"`
	TimedOut  uint64 `msgpack:"timed_out"`
	Failed    uint64 `msgpack:"failed"`
	Preempted uint64 `msgpack:"preempted"`
	Active    int    `msgpack:"active"`
	Queued    int    `msgpack:"queued"`
}

type tokenFigures struct {
	Prompt     uint64 `msgpack:"prompt"`
	Completion uint64 `msgpack:"completion"`
}

type statsResult struct {
	LatencyMs         latenciesResult    `msgpack:"latency_ms"`
	Throughput        map[string]float64 `msgpack:"throughput"`
	RequestsPerSecond map[string]float64 `msgpack:"requests_per_second"`
	Batch             batchFigures       `msgpack:"batch"`
	Requests          requestFigures     `msgpack:"requests"`
	Tokens            tokenFigures       `msgpack:"tokens"`
	StepsTotal        uint64             `msgpack:"steps_total"`
	FastPathTotal     uint64             `msgpack:"fast_path_total"`
	DegradationsTotal uint64             `msgpack:"degradations_total"`
	RecoveriesTotal   uint64             `msgpack:"recoveries_total"`
	Tuner             tunerFigures       `msgpack:"tuner"`
	Memory            memoryFigures      `msgpack:"memory"`
	PrefixCache       feature            `msgpack:"prefix_cache"`
	Speculative       feature            `msgpack:"speculative"`
	UptimeMs          float64            `msgpack:"uptime_ms"`
}

// tunerFigures are what keeps the latency target.
type tunerFigures struct {
	Enabled             bool    `msgpack:"enabled"` // MLX_AUTO_TUNE
	TargetMs            float64 `msgpack:"target_ms"`
	P99Ms               float64 `msgpack:"p99_ms"`
	P99AverageMs        float64 `msgpack:"p99_average_ms"`
	RowLimit            int     `msgpack:"row_limit"`
	Degraded            bool    `msgpack:"degraded"`
	PrefillBudgetTokens int     `msgpack:"prefill_budget_tokens"`
	Adjustments         uint64  `msgpack:"adjustments"`
}

// memoryFigures are what admission by memory knows.
type memoryFigures struct {
	LimitBytes    int64 `msgpack:"limit_bytes"`
	WeightsBytes  int64 `msgpack:"weights_bytes"`
	ReservedBytes int64 `msgpack:"reserved_bytes"`
}

// feature stands for the figures of something that this build does not have.
type feature struct {
	Enabled bool `msgpack:"enabled"`
}

func (s *server) runtimeStats(context.Context, args) (any, error) {
	stats := s.opts.Batcher.Stats()
	r := statsResult{
		LatencyMs: latenciesResult{
			latency(stats.Queue), latency(stats.TTFT), latency(stats.Token), latency(stats.Total),
		},
		Throughput:        map[string]float64{},
		RequestsPerSecond: map[string]float64{},
		Batch: batchFigures{
			Rows: stats.Batch.Rows, MaxRows: stats.Batch.MaxRows, WindowMs: ms(stats.Batch.Window), Sizes: map[string]uint64{},
		},
		Requests: requestFigures{
			Submitted: stats.Submitted, Rejected: stats.Rejected, Completed: stats.Completed, Cancelled: stats.Cancelled,
			TimedOut: stats.TimedOut, Failed: stats.Failed, Preempted: stats.Preempted, Active: stats.Active, Queued: stats.Queued,
		},
		Tokens:            tokenFigures{stats.PromptTokens, stats.CompletionTokens},
		StepsTotal:        stats.Steps,
		FastPathTotal:     stats.FastPathTotal,
		DegradationsTotal: stats.DegradationsTotal,
		RecoveriesTotal:   stats.RecoveriesTotal,
		Tuner:             newTunerFigures(stats.Tuner),
		Memory:            memoryFigures(stats.Memory),
		UptimeMs:          ms(stats.Uptime),
	}
	for _, t := range stats.Throughput {
		window := strconv.Itoa(int(t.Window.Seconds())) + "s"
		r.Throughput[window] = t.TokensPerSecond
		r.RequestsPerSecond[window] = t.RequestsPerSecond
	}
	for rows, steps := range stats.Batch.Sizes {
		r.Batch.Sizes[strconv.Itoa(rows)] = steps
	}
	return r, nil
}

func newTunerFigures(t batcher.TunerFigures) tunerFigures {
	return tunerFigures{
		Enabled: t.Enabled, TargetMs: ms(t.LatencyTarget), P99Ms: ms(t.P99), P99AverageMs: ms(t.P99Average),
		RowLimit: t.RowLimit, Degraded: t.Degraded, PrefillBudgetTokens: t.PrefillBudget, Adjustments: t.Adjustments,
	}
}

func latency(l batcher.Latency) latencyResult {
	return latencyResult{ms(l.P50), ms(l.P95), ms(l.P99), l.Count}
}
