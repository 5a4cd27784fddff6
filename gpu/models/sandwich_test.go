package models

import (
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// TestClippedSumsStayFinite adds what float16 cannot hold.
func TestClippedSumsStayFinite(t *testing.T) {
	mlxtest.Run(t, func(stream mlx.Stream) error {
		var sum mlx.Ref
		defer sum.Free()
		err := mlx.Build(stream, func(s *mlx.Scope) error {
			half := func(values ...float32) mlx.Array { return s.AsType(s.Float32s(values, len(values)), mlx.Float16) }
			l := &sandwich{clipped: true}
			total := l.add(s, half(60000, -60000, 1), half(60000, -60000, 2))
			if total.DType() != mlx.Float16 {
				t.Errorf("the sum is %v", total.DType())
			}
			return s.KeepIn(&sum, s.AsType(total, mlx.Float32))
		})
		if err != nil {
			return err
		}
		got, err := mlx.ReadFloat32s(stream, sum.Array())
		if want := []float32{65504, -65504, 3}; err == nil && !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		return err
	})
}
