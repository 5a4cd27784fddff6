package models

import (
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// sandwich is a block that also normalises what its parts add: x + norm(attention(norm(x))), then
// x + norm(mlp(norm(x))).
type sandwich struct {
	attentionNorm, afterAttention nn.Norm
	mlpNorm, afterMLP             nn.Norm
	attention                     *nn.Attention
	mlp                           feedForward

	clipped bool // sums stay finite in float16
}

// Forward implements block.
func (l *sandwich) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	y := l.attention.Forward(c, l.attentionNorm.Forward(c.Scope, x), layer)
	x = l.add(c.Scope, x, l.afterAttention.Forward(c.Scope, y))
	y = l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x))
	return l.add(c.Scope, x, l.afterMLP.Forward(c.Scope, y))
}

func (l *sandwich) add(s *mlx.Scope, x, y mlx.Array) mlx.Array {
	if l.clipped && s.Err() == nil && x.DType() == mlx.Float16 {
		return addFinite(s, x, y)
	}
	return s.Add(x, y)
}

// addFinite is x + y in float16, clipped to its greatest and least number.
func addFinite(s *mlx.Scope, x, y mlx.Array) mlx.Array {
	const greatest = 65504
	sum := s.Add(s.AsType(x, mlx.Float32), s.AsType(y, mlx.Float32))
	sum = s.Minimum(s.Maximum(sum, s.Scalar(-greatest, mlx.Float32)), s.Scalar(greatest, mlx.Float32))
	return s.AsType(sum, mlx.Float16)
}
