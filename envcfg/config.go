// Package envcfg reads the worker's environment: every variable once, at start, against one
// table (Variables) from which parsing, --help and the documentation are made.
package envcfg

import "time"

// Config is the validated environment. It is a plain value: copies share nothing, and nobody
// re-reads the environment after Load.
type Config struct {
	Scheduler Scheduler
	Metrics   Metrics
	Wire      Wire
	Log       Log
	Models    Models
	Device    Device
}

// Scheduler holds the batcher's knobs.
type Scheduler struct {
	Enabled      bool          // false: serial, one request at a time
	BatchSize    int           // most rows of a step
	Window       time.Duration // longest time a request is held to share a prefill
	P99Threshold time.Duration // latency target of auto-tuning and degradation
	FastPath     bool          // an idle worker starts a lone request at once

	AdaptiveWindow bool // the window follows the queue's depth
	WindowLow      time.Duration
	WindowMedium   time.Duration
	WindowHigh     time.Duration

	AutoTune         bool // move the row limit and the prefill budget towards P99Threshold
	AutoTuneMinBatch int
	AutoTuneMaxBatch int
	AutoTuneEMAAlpha float64
	AutoTuneInterval int // steps between adjustments

	MaxQueue          int // requests that may wait
	PrefillStepTokens int // most prompt tokens of one prefill chunk
}

// Metrics configures the HTTP exporter.
type Metrics struct {
	Export bool
	Port   int // on 127.0.0.1
}

// Wire bounds the protocol.
type Wire struct {
	MaxFrameBytes int
}

// Log configures stderr.
type Log struct {
	Format string // "text" or "json"
	Level  string // "debug", "info", "warn" or "error"
}

// Models says where models lie. Empty: not set.
type Models struct {
	Dir        string
	HFHome     string
	HFHubCache string
}

// Device configures the inference engine.
type Device struct {
	Kind             string // "auto", "cpu" or "gpu"
	MemoryLimitBytes int64  // Auto: MLX's own
	CacheLimitBytes  int64  // Auto: MLX's own; 0: freed buffers are not kept
	CPUThreads       int    // 0: all cores
	CPUDenseWeights  string // "auto", "on" or "off"
	CPUKernels       string // "auto", "off", "avx2" or "avx512"
}

// Auto is the value of a size whose choice is left to the engine.
const Auto int64 = -1
