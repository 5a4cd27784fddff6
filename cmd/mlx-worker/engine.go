package main

import (
	"os"

	"mlx-worker/batcher"
	"mlx-worker/envcfg"
	"mlx-worker/gpu"
	"mlx-worker/internal/limits"
	"mlx-worker/rpc"
)

// newEngine starts MLX as the environment says.
func newEngine(config envcfg.Config) (batcher.Engine, rpc.Info, error) {
	d := config.Device
	if d.CPUThreads == 0 {
		d.CPUThreads = limits.Cores()
	}
	engine, err := gpu.New(gpu.Config{
		Device:           d.Kind,
		CPUThreads:       d.CPUThreads,
		DenseWeights:     d.CPUDenseWeights,
		CPUKernels:       d.CPUKernels,
		MemoryLimitBytes: d.MemoryLimitBytes,
		CacheLimitBytes:  d.CacheLimitBytes,
	})
	if err != nil {
		return nil, rpc.Info{}, err
	}
	info := engine.Info()
	return engine, rpc.Info{
		Version:     version,
		MLXVersion:  info.MLXVersion,
		MLXCVersion: info.MLXCVersion,
		Backend:     string(info.Backend),
		Device:      rpc.Device{Name: info.Name, MemoryBytes: info.MemoryBytes, RecommendedBytes: info.RecommendedBytes},
		PID:         os.Getpid(),
	}, nil
}
