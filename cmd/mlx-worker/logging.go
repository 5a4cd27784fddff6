package main

import (
	"io"
	"log/slog"

	"mlx-worker/envcfg"
)

// newLogger returns the process's logger, one line a record. The environment table allows no
// other formats and levels.
func newLogger(w io.Writer, cfg envcfg.Log) *slog.Logger {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	opts := &slog.HandlerOptions{Level: levels[cfg.Level]}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
