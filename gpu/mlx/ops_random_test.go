package mlx_test

import (
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// With one row of equal logits, MLX's categorical is its uniform number times their count.
func TestUniformIsThatOfMLX(t *testing.T) {
	const tokens = 1 << 20
	mlxtest.Run(t, func(stream mlx.Stream) error {
		for counter := range uint64(20) {
			seed := counter * 0x9e3779b97f4a7c15
			got, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				return s.Categorical(s.Zeros(mlx.Float32, 1, tokens), -1, s.RandomKey(seed, counter))
			})
			if err != nil {
				return err
			}
			if want := int(mlx.Uniform(seed, counter) * tokens); int(got[0]) != want {
				t.Errorf("seed %d, draw %d: MLX drew %g, want %d", seed, counter, got[0], want)
			}
		}
		return nil
	})
}
