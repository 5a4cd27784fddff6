package main

import (
	"log/slog"

	"mlx-worker/batcher"
	"mlx-worker/envcfg"
	"mlx-worker/internal/exporter"
)

// exportMetrics serves the scheduler's figures over HTTP if the environment asks for it. Without
// them the worker works all the same: a port that is taken is a warning.
func exportMetrics(config envcfg.Metrics, scheduler *batcher.Batcher, engine batcher.Engine, logger *slog.Logger) (stop func()) {
	if !config.Export {
		return func() {}
	}
	e, err := exporter.Start(exporter.Options{
		Port:     config.Port,
		Snapshot: scheduler.Stats,
		Memory:   engine.Memory,
		Ready:    func() bool { return anyReady(scheduler.Models()) },
		Logger:   logger,
	})
	if err != nil {
		logger.Warn("metrics are not exported", "error", err)
		return func() {}
	}
	logger.Info("metrics are exported", "url", "http://"+e.Addr()+"/metrics")
	return func() {
		if err := e.Close(); err != nil {
			logger.Warn("closing the metrics server", "error", err)
		}
	}
}

func anyReady(models []batcher.ModelState) bool {
	for _, m := range models {
		if m.Phase == batcher.ModelReady {
			return true
		}
	}
	return false
}
