package main

import (
	"encoding/json"
	"io"

	"mlx-worker/envcfg"
)

// checkEngine starts MLX and prints what it runs on, one line of JSON.
func checkEngine(env envcfg.Config, out io.Writer) int {
	engine, info, err := newEngine(env)
	if err != nil {
		complain(err)
		return exitNoEngine
	}
	device := map[string]any{"name": info.Device.Name, "memory_bytes": info.Device.MemoryBytes}
	if info.Device.RecommendedBytes != 0 {
		device["recommended_bytes"] = info.Device.RecommendedBytes
	}
	err = json.NewEncoder(out).Encode(map[string]any{
		"version":       info.Version,
		"mlx_version":   info.MLXVersion,
		"mlx_c_version": info.MLXCVersion,
		"backend":       info.Backend,
		"device":        device,
	})
	if closeErr := engine.Close(); err == nil {
		err = closeErr
	}
	return printed(0, err)
}
