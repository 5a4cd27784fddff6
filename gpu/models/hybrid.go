package models

import (
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// mixer is the part of a block that sees the tokens before: attention or a recurrent layer.
type mixer interface {
	// Forward takes and returns [1, T, hidden]. layer is the number of its cache.
	Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array
}

// hybrid is the usual block around any mixer: x + mixer(norm(x)), then x + mlp(norm(x)).
type hybrid struct {
	mixerNorm, mlpNorm nn.Norm
	mixer              mixer
	mlp                feedForward

	residualScale float64 // of what mixer and mlp add; 0: 1
}

// Forward implements block.
func (l *hybrid) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	x = addScaled(c, x, l.mixer.Forward(c, l.mixerNorm.Forward(c.Scope, x), layer), l.residualScale)
	return addScaled(c, x, l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x)), l.residualScale)
}

// mixerOnly is a block without a feed-forward part: x + mixer(norm(x)).
type mixerOnly struct {
	norm  nn.Norm
	mixer mixer
}

// Forward implements block.
func (l *mixerOnly) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	return c.Add(x, l.mixer.Forward(c, l.norm.Forward(c.Scope, x), layer))
}

// mlpOnly is a block that sees each token alone: x + mlp(norm(x)).
type mlpOnly struct {
	norm nn.Norm
	mlp  feedForward
}

// Forward implements block.
func (l *mlpOnly) Forward(c *nn.Context, x mlx.Array, _ int) mlx.Array {
	return c.Add(x, l.mlp.Forward(c.Scope, l.norm.Forward(c.Scope, x)))
}

// cached is a block whose cache has another number than it, because not every block has one.
type cached struct {
	block
	cache int
}

// Forward implements block.
func (l *cached) Forward(c *nn.Context, x mlx.Array, _ int) mlx.Array {
	return l.block.Forward(c, x, l.cache)
}
