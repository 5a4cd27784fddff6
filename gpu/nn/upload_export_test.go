package nn

import "mlx-worker/gpu/mlx"

// Dense returns the matrix at path, or the experts' matrices, as a dense array.
func (b *Builder) Dense(path string, in, out int, experts ...int) *mlx.Ref {
	p := b.projection(path, in, out, experts...)
	if b.Err() != nil {
		return nil
	}
	return b.dense([]projection{p})
}

// Quantised returns the matrix at path, or the experts' matrices, as a quantised one.
func (b *Builder) Quantised(path string, in, out int, experts ...int) (weight, scales, biases *mlx.Ref) {
	p := b.projection(path, in, out, experts...)
	if b.Err() != nil {
		return nil, nil, nil
	}
	q := b.quantized([]projection{p}, b.policy.DType)
	return q.weight, q.scales, q.biases
}

// PieceElements is what one job computes at most.
const PieceElements = pieceElements
