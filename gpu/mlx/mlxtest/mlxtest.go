// Package mlxtest gives tests an MLX runtime on the CPU.
package mlxtest

import (
	"context"
	"testing"

	"mlx-worker/gpu/mlx"
)

// Run calls fn on a thread of its own with a CPU runtime and fails the test with fn's error.
// fn must not call t.FailNow, which ends only the test's own goroutine.
func Run(t testing.TB, fn func(stream mlx.Stream) error) {
	t.Helper()
	RunWith(t, mlx.Options{Device: "cpu", CPUThreads: 1, CacheLimitBytes: -1}, fn)
}

// RunWith is Run with a runtime of the caller's choice.
func RunWith(t testing.TB, options mlx.Options, fn func(stream mlx.Stream) error) {
	t.Helper()
	thread := mlx.NewThread()
	defer thread.Close()
	err := thread.Do(context.Background(), func() (err error) {
		rt, err := mlx.Open(options)
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := rt.Close(); err == nil {
				err = closeErr
			}
		}()
		return fn(rt.Stream)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Float32s builds an array, evaluates it and returns its elements.
func Float32s(stream mlx.Stream, build func(s *mlx.Scope) mlx.Array) ([]float32, error) {
	var kept *mlx.Ref
	err := mlx.Build(stream, func(s *mlx.Scope) (err error) {
		kept, err = s.Keep(build(s))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer kept.Free()
	return mlx.ReadFloat32s(stream, kept.Array())
}
