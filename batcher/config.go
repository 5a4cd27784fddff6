package batcher

import (
	"log/slog"
	"time"

	"mlx-worker/envcfg"
)

// Config sets a Batcher's limits and policy. The zero value of a field that is not a switch
// means its default.
type Config struct {
	MaxQueue          int // requests that may wait beside the running ones; default 1000
	MaxRows           int // sequences of one model that share a step; default 16
	PrefillStepTokens int // most prompt tokens of one step; default 2048

	// Window is how long a request that finds the worker idle may be held so that others share
	// its prefill; 0: not at all. With FastPath a lone request is not held: none is known to be
	// on its way (see Batcher.Announce).
	Window         time.Duration
	FastPath       bool
	AdaptiveWindow *AdaptiveWindow // chooses the window instead; nil: off

	// LatencyTarget is the P99 of inter-token latency to stay below: prefill chunks shrink for
	// it, and while it is missed for long, fewer rows are admitted. Default 250 ms.
	LatencyTarget time.Duration
	AutoTune      *AutoTune // nil: off

	// AgeingInterval is the wait after which a request counts as of the next higher priority;
	// default 5 s.
	AgeingInterval time.Duration

	Logger *slog.Logger // receives panics with their stacks, and untyped errors of the engine; default: none
}

// AdaptiveWindow chooses the window by the number of waiting requests: Low up to 1, Medium up
// to 5, High above.
type AdaptiveWindow struct{ Low, Medium, High time.Duration }

// AutoTune moves the row limit between MinRows and MaxRows, and the prefill budget, towards the
// latency target. It starts at Config.MaxRows or the end of the range that is nearest.
type AutoTune struct {
	MinRows, MaxRows int
	Alpha            float64 // weight of the newest P99 in the moving average
	Interval         int     // steps between adjustments
}

// FromEnv takes the batcher's part of the environment.
func FromEnv(env envcfg.Config) Config {
	s := env.Scheduler
	c := Config{
		MaxQueue: s.MaxQueue, MaxRows: s.BatchSize, PrefillStepTokens: s.PrefillStepTokens,
		Window: s.Window, FastPath: s.FastPath, LatencyTarget: s.P99Threshold,
	}
	if s.AdaptiveWindow {
		c.AdaptiveWindow = &AdaptiveWindow{Low: s.WindowLow, Medium: s.WindowMedium, High: s.WindowHigh}
	}
	if s.AutoTune {
		c.AutoTune = &AutoTune{MinRows: s.AutoTuneMinBatch, MaxRows: s.AutoTuneMaxBatch, Alpha: s.AutoTuneEMAAlpha, Interval: s.AutoTuneInterval}
	}
	if !s.Enabled { // serial: one request at a time, started at once
		c.MaxRows, c.Window, c.FastPath, c.AdaptiveWindow, c.AutoTune = 1, 0, true, nil, nil
	}
	return c
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxQueue, 1000)
	setDefault(&c.MaxRows, 16)
	setDefault(&c.PrefillStepTokens, 2048)
	setDefault(&c.LatencyTarget, 250*time.Millisecond)
	setDefault(&c.AgeingInterval, 5*time.Second)
	if c.AutoTune != nil {
		tune := *c.AutoTune
		setDefault(&tune.MinRows, 1)
		tune.MaxRows = max(tune.MaxRows, tune.MinRows)
		setDefault(&tune.Interval, 1)
		c.AutoTune = &tune
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// mostRows is the greatest row limit that a model can come to have.
func (c *Config) mostRows() int {
	if c.AutoTune != nil {
		return c.AutoTune.MaxRows
	}
	return c.MaxRows
}

// firstRows is the row limit at the start.
func (c *Config) firstRows() int {
	if c.AutoTune != nil {
		return min(max(c.MaxRows, c.AutoTune.MinRows), c.AutoTune.MaxRows)
	}
	return c.MaxRows
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
