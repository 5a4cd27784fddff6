package exporter

import (
	"strconv"
	"time"

	"mlx-worker/batcher"
)

// families are all metrics. The first eight are those of the replaced system, under its names;
// the others have Prometheus's base units, seconds and bytes.
var families = []family{
	gauge("mlx_latency_p50_milliseconds", "Median time of a whole request, of the last 1000 completed.",
		func(now figures) float64 { return ms(now.Total.P50) }),
	gauge("mlx_latency_p95_milliseconds", "95th percentile of the time of a whole request, of the last 1000 completed.",
		func(now figures) float64 { return ms(now.Total.P95) }),
	gauge("mlx_latency_p99_milliseconds", "99th percentile of the time of a whole request, of the last 1000 completed.",
		func(now figures) float64 { return ms(now.Total.P99) }),
	byWindow("mlx_throughput_tokens_per_second", "Completion tokens per second over the last window.",
		func(rate batcher.Throughput) float64 { return rate.TokensPerSecond }),
	gauge("mlx_batch_size_current", "Rows of the latest step; 0 when idle.",
		func(now figures) float64 { return float64(now.Batch.Rows) }),
	gauge("mlx_queue_depth", "Requests that wait.",
		func(now figures) float64 { return float64(now.Queued) }),
	gauge("mlx_uptime_seconds", "Time since the scheduler started.",
		func(now figures) float64 { return now.Uptime.Seconds() }),
	counter("mlx_mode_transitions_total", "Times that the row limit was lowered for the latency target or raised again.",
		func(now figures) uint64 { return now.DegradationsTotal + now.RecoveriesTotal }),

	percentiles("mlx_time_to_first_token_seconds", "Submission to first token, of the last 1000.",
		func(now figures) batcher.Latency { return now.TTFT }),
	percentiles("mlx_inter_token_latency_seconds", "Time between two tokens of a request, of the last 1000.",
		func(now figures) batcher.Latency { return now.Token }),
	percentiles("mlx_queue_time_seconds", "Submission to first step, of the last 1000.",
		func(now figures) batcher.Latency { return now.Queue }),

	counter("mlx_requests_submitted_total", "Requests admitted to the queue.",
		func(now figures) uint64 { return now.Submitted }),
	byOutcome("mlx_requests_total", "Requests that ended, by outcome; rejected: the queue was full."),
	byWindow("mlx_requests_per_second", "Requests completed per second over the last window.",
		func(rate batcher.Throughput) float64 { return rate.RequestsPerSecond }),
	gauge("mlx_requests_running", "Requests in the engine.",
		func(now figures) float64 { return float64(now.Active) }),
	counter("mlx_preemptions_total", "Times that a background request lost its cache to one of higher priority.",
		func(now figures) uint64 { return now.Preempted }),
	counter("mlx_fast_path_total", "Requests that an idle worker started at once.",
		func(now figures) uint64 { return now.FastPathTotal }),
	counter("mlx_prompt_tokens_total", "Prompt tokens computed.",
		func(now figures) uint64 { return now.PromptTokens }),
	counter("mlx_completion_tokens_total", "Tokens generated.",
		func(now figures) uint64 { return now.CompletionTokens }),
	counter("mlx_steps_total", "Steps of the engine.",
		func(now figures) uint64 { return now.Steps }),
	stepRows("mlx_step_rows", "Rows of a step."),
	counter("mlx_wakeups_total", "Times that the idle scheduler was woken.",
		func(now figures) uint64 { return now.Wakeups }),

	gauge("mlx_batch_size_max", "Rows that a step may have by configuration.",
		func(now figures) float64 { return float64(now.Batch.MaxRows) }),
	gauge("mlx_row_limit", "Rows that are admitted now.",
		func(now figures) float64 { return float64(now.Tuner.RowLimit) }),
	gauge("mlx_prefill_budget_tokens", "Prompt tokens of the latest step that had decodes beside them.",
		func(now figures) float64 { return float64(now.Tuner.PrefillBudget) }),
	gauge("mlx_batch_window_seconds", "Longest time that a request is held to share a prefill.",
		func(now figures) float64 { return now.Batch.Window.Seconds() }),
	gauge("mlx_latency_target_seconds", "99th percentile of inter-token latency to stay below.",
		func(now figures) float64 { return now.Tuner.LatencyTarget.Seconds() }),
	gauge("mlx_degraded", "1 while the row limit is lowered for the latency target.",
		func(now figures) float64 { return oneIf(now.Tuner.Degraded) }),
	counter("mlx_degradations_total", "Times that the row limit was lowered for the latency target.",
		func(now figures) uint64 { return now.DegradationsTotal }),
	counter("mlx_recoveries_total", "Times that the row limit was raised again.",
		func(now figures) uint64 { return now.RecoveriesTotal }),
	gauge("mlx_auto_tuning_enabled", "1 with MLX_AUTO_TUNE=on.",
		func(now figures) float64 { return oneIf(now.Tuner.Enabled) }),
	counter("mlx_auto_tuning_adjustments_total", "Times that auto-tuning moved the row limit or the prefill budget.",
		func(now figures) uint64 { return now.Tuner.Adjustments }),
	gauge("mlx_tuner_p99_seconds", "99th percentile of inter-token latency in the latest evaluation; 0: none yet.",
		func(now figures) float64 { return now.Tuner.P99.Seconds() }),
	gauge("mlx_tuner_p99_average_seconds", "Moving average of the evaluations' 99th percentiles.",
		func(now figures) float64 { return now.Tuner.P99Average.Seconds() }),

	gauge("mlx_memory_active_bytes", "Memory that arrays take now.",
		func(now figures) float64 { return float64(now.engine.ActiveBytes) }),
	gauge("mlx_memory_cache_bytes", "Freed memory that the allocator keeps.",
		func(now figures) float64 { return float64(now.engine.CacheBytes) }),
	gauge("mlx_memory_peak_bytes", "Most memory that arrays took.",
		func(now figures) float64 { return float64(now.engine.PeakBytes) }),
	gauge("mlx_memory_limit_bytes", "Memory for weights and KV caches; 0: unknown, nothing is refused.",
		func(now figures) float64 { return float64(now.Memory.LimitBytes) }),
	gauge("mlx_memory_weights_bytes", "Memory of the loaded models' weights.",
		func(now figures) float64 { return float64(now.Memory.WeightsBytes) }),
	gauge("mlx_memory_reserved_bytes", "Memory of the admitted requests' KV caches at their longest.",
		func(now figures) float64 { return float64(now.Memory.ReservedBytes) }),
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func oneIf(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// windowName is a window as its label and key: "5s", "30s", "60s".
func windowName(window time.Duration) string {
	return strconv.Itoa(int(window/time.Second)) + "s"
}
