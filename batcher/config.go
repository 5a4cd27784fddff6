package batcher

import (
	"log/slog"

	"mlx-worker/envcfg"
)

// Config sets a Batcher's limits. The zero value of a field means its default.
type Config struct {
	MaxQueue          int          // requests that may wait beside the running ones; default 1000
	PrefillStepTokens int          // most prompt tokens of one prefill chunk; default 2048
	Logger            *slog.Logger // receives panics with their stacks, and untyped errors of the engine; default: none
}

// FromEnv takes the batcher's part of the environment.
func FromEnv(env envcfg.Config) Config {
	return Config{MaxQueue: env.Scheduler.MaxQueue, PrefillStepTokens: env.Scheduler.PrefillStepTokens}
}

func (c Config) withDefaults() Config {
	if c.MaxQueue <= 0 {
		c.MaxQueue = 1000
	}
	if c.PrefillStepTokens <= 0 {
		c.PrefillStepTokens = 2048
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
