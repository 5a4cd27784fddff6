package sample

import (
	"math"

	"mlx-worker/gpu/mlx"
)

// steepest bounds 1/temperature, so that it times 0 is 0.
const steepest = math.MaxFloat32

// categorical draws a token of each row, int32 [rows], from the softmax of scores, [rows,
// vocab], divided by the row's temperature. It draws as MLX's categorical does for one row with
// RandomKey(Seed, Draw): by a uniform number, made here, and the running sum of probabilities.
func categorical(s *mlx.Scope, scores mlx.Array, rows []*Row) mlx.Array {
	inverse := column(s, rows, mlx.Float32, func(r *Row) float64 { return min(1/r.Temperature, steepest) })
	uniform := column(s, rows, mlx.Float32, func(r *Row) float64 { return float64(mlx.Uniform(r.Seed, r.Draw)) })

	// Scaling in half precision would shift the probabilities.
	wide := s.AsType(scores, mlx.Float32)
	weights := s.Exp(s.Multiply(s.Subtract(wide, s.Max(wide, -1, true)), inverse))
	// Where rounding makes the running sum uneven, it must not fall on a token without weight.
	zero := s.Scalar(0, mlx.Float32)
	sums := s.Where(s.Greater(weights, zero), s.CumSum(weights, -1, false), zero)
	target := s.Multiply(uniform, s.Max(sums, -1, true))
	beyond := s.Where(s.Greater(sums, target), sums, s.Scalar(math.Inf(1), mlx.Float32))
	return s.AsType(s.ArgMin(beyond, -1, false), mlx.Int32)
}
