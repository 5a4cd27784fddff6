package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/envcfg"
	"mlx-worker/internal/limits"
	"mlx-worker/internal/modelfiles"
	"mlx-worker/internal/stdio"
	"mlx-worker/rpc"
	"mlx-worker/text"
)

const (
	// endOfInputGrace is how long the process may live after its client closed stdin, whatever
	// the engine does. The contract says one second, part of which the kernel needs to take a
	// large process apart.
	endOfInputGrace = rpc.EndTimeout + 100*time.Millisecond
	// closeGrace is how long MLX may take to free its memory before the process ends anyway.
	closeGrace = 2 * time.Second
	// termDrain is how long running streams may take to finish after SIGTERM.
	termDrain = 5 * time.Second
)

// serve runs the worker until its client is gone or asks it to end.
func serve(in io.ReadCloser, out io.WriteCloser, env envcfg.Config) int {
	logger := newLogger(os.Stderr, env.Log)
	slog.SetDefault(logger)
	warnAboutEnvironment(logger)
	ctx, stop := handleSignals()
	defer stop()
	limits.RaiseProcs()

	engine, info, err := newEngine(env)
	if err != nil {
		complain(err)
		return exitNoEngine
	}
	batching := batcher.FromEnv(env)
	batching.Logger = logger
	scheduler := batcher.New(engine, batching)
	stopMetrics := exportMetrics(env.Metrics, scheduler, engine, logger)
	defer stopMetrics()

	err = rpc.Serve(ctx, rpc.Options{
		In:             in,
		Out:            out,
		Batcher:        scheduler,
		OpenText:       openText,
		NewStopMatcher: func(stops []string) rpc.StopMatcher { return text.NewStopMatcher(stops) },
		ResolveModel:   modelfiles.NewResolver(env.Models).Resolve,
		Memory:         engine.Memory,
		RSS:            residentBytes,
		Info:           info,
		MaxFrameBytes:  env.Wire.MaxFrameBytes,
		DrainTimeout:   termDrain,
		Ready:          func() { fmt.Fprintln(os.Stderr, "MLX Runtime ready") },
		InputEnded: func() {
			time.AfterFunc(endOfInputGrace, func() { os.Exit(exitOK) })
		},
		Logger: logger,
	})
	closeWithin(closeGrace, engine, logger)
	if err != nil {
		logger.Error("ended early", "error", err)
		return exitInternal
	}
	return exitOK
}

// handleSignals returns a context that ends when the process is asked to.
func handleSignals() (context.Context, context.CancelFunc) {
	// A client that is gone is noticed by a failed write; on stderr nobody minds it.
	signal.Ignore(syscall.SIGPIPE)
	if stdio.Interactive() {
		return signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	}
	signal.Ignore(os.Interrupt) // Ctrl-C in the client's terminal is the client's to handle
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}

// closeWithin closes the engine, unless a step keeps it busy for longer than the process is
// willing to wait.
func closeWithin(grace time.Duration, engine batcher.Engine, logger *slog.Logger) {
	closed := make(chan error, 1)
	go func() { closed <- engine.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			logger.Warn("closing the engine", "error", err)
		}
	case <-time.After(grace):
		logger.Warn("the engine is still busy; ending without it")
	}
}

func warnAboutEnvironment(logger *slog.Logger) {
	for _, name := range envcfg.Unknown(os.Environ()) {
		logger.Warn("unknown environment variable; mlx-worker --help lists the known ones", "name", name)
	}
}
