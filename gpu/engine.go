// Package gpu runs language models on MLX. Its Engine is what the batcher drives.
package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"mlx-worker/batcher"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/limits"
)

// Config configures an Engine.
type Config struct {
	Device           string // "auto", "cpu" or "gpu"
	CPUThreads       int    // threads of BLAS on the CPU; 0: one per core
	DenseWeights     string // CPU: "auto", "on" or "off"; see nn.Policy
	CPUKernels       string // CPU: "auto", "off", "avx2" or "avx512"; see mlx.Scope.Kernels
	MemoryLimitBytes int64  // 0: MLX's default
	CacheLimitBytes  int64  // -1: MLX's default

	Logger *slog.Logger // receives the stacks of panics; nil: slog.Default()
}

// Info describes what the engine runs on.
type Info struct {
	mlx.Device
	MLXVersion  string
	MLXCVersion string
}

// Engine owns MLX: one thread on which everything of MLX happens. Methods may be called from
// any goroutine; they are jobs on that thread, in order.
type Engine struct {
	config  Config
	thread  *mlx.Thread
	runtime *mlx.Runtime
	info    Info

	memory      struct{ active, cache, peak atomic.Int64 } // as of the last job
	memoryLimit int64

	mu      sync.Mutex
	models  map[string]*model
	closed  bool
	garbage []*sequence // closed, and not freed yet
	sweeps  sync.WaitGroup

	open  atomic.Int64 // sequences that are not closed
	steps uint64       // on the MLX thread
}

var _ batcher.Engine = (*Engine)(nil)

// New starts the MLX thread and picks a device. Close ends it.
func New(config Config) (*Engine, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	e := &Engine{config: config, thread: mlx.NewThread(), models: map[string]*model{}}
	err := e.thread.Do(context.Background(), func() (err error) {
		e.runtime, err = mlx.Open(mlx.Options{
			Device:           config.Device,
			CPUThreads:       config.CPUThreads,
			CPUKernels:       config.CPUKernels,
			MemoryLimitBytes: config.MemoryLimitBytes,
			CacheLimitBytes:  config.CacheLimitBytes,
		})
		if err != nil {
			return err
		}
		e.info = Info{Device: e.runtime.Device, MLXCVersion: mlx.CVersion}
		e.info.MLXVersion, err = mlx.Version()
		return err
	})
	if err != nil {
		e.thread.Close()
		return nil, fmt.Errorf("start MLX: %w", err)
	}
	e.memoryLimit = e.capacity()
	return e, nil
}

// Info returns the device and the versions.
func (e *Engine) Info() Info { return e.info }

// Memory returns the figures of the last finished job, without waiting for the thread.
func (e *Engine) Memory() batcher.Memory {
	return batcher.Memory{
		ActiveBytes: e.memory.active.Load(),
		CacheBytes:  e.memory.cache.Load(),
		PeakBytes:   e.memory.peak.Load(),
		LimitBytes:  e.memoryLimit,
	}
}

// capacity is what weights and caches may take: what the user set, what the device recommends,
// or most of its memory: for the CPU, of what a container may use.
func (e *Engine) capacity() int64 {
	switch {
	case e.config.MemoryLimitBytes > 0:
		return e.config.MemoryLimitBytes
	case e.info.RecommendedBytes > 0:
		return e.info.RecommendedBytes
	}
	memory := e.info.MemoryBytes
	if container, limited := limits.ContainerMemory(); limited && e.info.Backend == mlx.CPU {
		memory = min(memory, container.Limit)
	}
	return memory / 10 * 9
}

// Close frees all models and sequences and ends the thread.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	models := e.models
	e.models = nil
	e.mu.Unlock()

	e.sweeps.Wait()
	err := e.do(context.Background(), func() error {
		var errs []error
		for _, m := range models {
			errs = append(errs, m.free())
		}
		return errors.Join(append(errs, e.runtime.Close())...)
	})
	e.thread.Close()
	return err
}

// do runs fn on the thread, after freeing closed sequences, and notes the memory figures. MLX
// errors and panics come back as faults.
func (e *Engine) do(ctx context.Context, fn func() error) error {
	err := e.thread.Do(ctx, func() error {
		e.sweep()
		defer e.noteMemory()
		return fn()
	})
	var known *fault.Error
	if err == nil || errors.As(err, &known) || (ctx.Err() != nil && errors.Is(err, context.Cause(ctx))) {
		return err
	}
	if errors.Is(err, mlx.ErrThreadClosed) {
		return fault.New(fault.ShuttingDown, "the engine is closed")
	}
	var panicked *mlx.PanicError
	if errors.As(err, &panicked) {
		e.config.Logger.Error("panic on the MLX thread", "value", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
		return fault.New(fault.Internal, "internal fault in the engine")
	}
	return fault.New(fault.Generation, "%w", err).With("cause", err.Error())
}

// sweep drops the caches of closed sequences.
func (e *Engine) sweep() {
	e.mu.Lock()
	garbage := e.garbage
	e.garbage = nil
	e.mu.Unlock()
	for _, s := range garbage {
		s.free()
	}
}

// discard frees s with the next job on the thread, or with one of its own.
func (e *Engine) discard(s *sequence) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return // the process is about to end, or the runtime is gone
	}
	e.garbage = append(e.garbage, s)
	e.sweeps.Go(func() {
		// The only error is that the thread has ended, and its memory with it.
		_ = e.do(context.Background(), e.rest)
	})
}

// rest gives unused memory back when nothing runs.
func (e *Engine) rest() error {
	if e.open.Load() > 0 {
		return nil
	}
	return e.runtime.ClearCache()
}

func (e *Engine) noteMemory() {
	m, err := e.runtime.Memory()
	if err != nil {
		return // the figures stay as they were
	}
	e.memory.active.Store(m.Active)
	e.memory.cache.Store(m.Cache)
	e.memory.peak.Store(m.Peak)
}

func (e *Engine) model(id string) (*model, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.models[id]
	if m == nil {
		return nil, notLoaded(id)
	}
	return m, nil
}

func notLoaded(id string) error {
	return fault.New(fault.ModelNotLoaded, "model %q is not loaded", id).With("model_id", id)
}
