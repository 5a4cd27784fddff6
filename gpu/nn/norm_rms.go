package nn

import "mlx-worker/gpu/mlx"

// ScaledRMSNorm is RMSNorm whose weight is factor times the array called name, of size elements.
func (b *Builder) ScaledRMSNorm(name string, size int, factor float64, eps float32) *RMSNorm {
	stored := b.Parameter(name, size)
	if b.Err() != nil {
		return nil
	}
	weight := b.upload.replace([]*mlx.Ref{stored}, func(s *mlx.Scope) mlx.Array {
		return s.Multiply(stored.Array(), s.Scalar(factor, stored.Array().DType()))
	})
	return &RMSNorm{weight: weight, eps: eps}
}
