package nn

import "mlx-worker/gpu/mlx"

// Norm normalises the last axis of x.
type Norm interface {
	Forward(s *mlx.Scope, x mlx.Array) mlx.Array
}

// RMSNorm is root-mean-square normalisation.
type RMSNorm struct {
	weight *mlx.Ref // nil: 1
	eps    float32
}

// RMSNorm builds the normalisation at path, over size elements.
func (b *Builder) RMSNorm(path string, size int, eps float32) *RMSNorm {
	return &RMSNorm{weight: b.Parameter(path+".weight", size), eps: eps}
}

// OffsetRMSNorm is RMSNorm whose stored weight is the difference to 1, as in Gemma.
func (b *Builder) OffsetRMSNorm(path string, size int, eps float32) *RMSNorm {
	stored := b.Parameter(path+".weight", size)
	if b.Err() != nil {
		return nil
	}
	weight := b.upload.replace([]*mlx.Ref{stored}, func(s *mlx.Scope) mlx.Array {
		return s.Add(stored.Array(), s.Scalar(1, stored.Array().DType()))
	})
	return &RMSNorm{weight: weight, eps: eps}
}

// PlainRMSNorm is RMSNorm without a weight.
func PlainRMSNorm(eps float32) *RMSNorm { return &RMSNorm{eps: eps} }

// Forward normalises x.
func (n *RMSNorm) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	return s.RMSNorm(x, arrayOf(n.weight), n.eps)
}

// LayerNorm is normalisation by mean and variance.
type LayerNorm struct {
	weight, bias *mlx.Ref // nil: 1 and 0
	eps          float32
}

// LayerNorm builds the normalisation at path, over size elements, with a bias where the checkpoint
// has one.
func (b *Builder) LayerNorm(path string, size int, eps float32) *LayerNorm {
	n := &LayerNorm{weight: b.Parameter(path+".weight", size), eps: eps}
	if b.Has(path + ".bias") {
		n.bias = b.Parameter(path+".bias", size)
	}
	return n
}

// Forward normalises x.
func (n *LayerNorm) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	return s.LayerNorm(x, arrayOf(n.weight), arrayOf(n.bias), n.eps)
}

func arrayOf(r *mlx.Ref) mlx.Array {
	if r == nil {
		return mlx.Array{}
	}
	return r.Array()
}
