package nn

import "mlx-worker/gpu/mlx"

// OffsetLayerNorm is LayerNorm whose stored weight is the difference to 1, as in Nemotron.
func (b *Builder) OffsetLayerNorm(path string, size int, eps float32) *LayerNorm {
	n := &LayerNorm{eps: eps, bias: b.Parameter(path+".bias", size)}
	stored := b.Parameter(path+".weight", size)
	if b.Err() == nil {
		n.weight = b.upload.replace([]*mlx.Ref{stored}, func(s *mlx.Scope) mlx.Array {
			return s.Add(stored.Array(), s.Scalar(1, stored.Array().DType()))
		})
	}
	return n
}

// PlainLayerNorm is LayerNorm without weight and bias.
func PlainLayerNorm(eps float32) *LayerNorm { return &LayerNorm{eps: eps} }

// HeadLayerNorm is LayerNorm of heads, [..., heads, dim], with a weight of its own for each.
type HeadLayerNorm struct {
	plain  *LayerNorm
	weight *mlx.Ref // [heads, dim]
}

// HeadLayerNorm builds the normalisation of the heads whose weights are at paths.
func (b *Builder) HeadLayerNorm(paths []string, dim int, eps float32) *HeadLayerNorm {
	var weights []*mlx.Ref
	for _, path := range paths {
		weights = append(weights, b.Parameter(path+".weight", dim))
	}
	n := &HeadLayerNorm{plain: PlainLayerNorm(eps)}
	if b.Err() == nil {
		n.weight = b.upload.replace(weights, func(s *mlx.Scope) mlx.Array {
			parts := make([]mlx.Array, len(weights))
			for i, w := range weights {
				parts[i] = w.Array()
			}
			return s.Reshape(s.Concatenate(0, parts...), len(parts), dim)
		})
	}
	return n
}

// StackedHeadLayerNorm is HeadLayerNorm of so many heads, whose weights are one array.
func (b *Builder) StackedHeadLayerNorm(path string, heads, dim int, eps float32) *HeadLayerNorm {
	return &HeadLayerNorm{plain: PlainLayerNorm(eps), weight: b.Parameter(path+".weight", heads, dim)}
}

// Forward normalises x.
func (n *HeadLayerNorm) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	return s.Multiply(n.weight.Array(), n.plain.Forward(s, x))
}
