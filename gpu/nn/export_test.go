package nn

import "mlx-worker/gpu/mlx"

// Stored returns the arrays of the projection at path as a layer would hold them, by the ends of
// their names.
func (b *Builder) Stored(path string, in, out int) map[string]*mlx.Ref {
	p := b.projection(path, in, out)
	if b.Err() != nil {
		return nil
	}
	if p.format == nil {
		return map[string]*mlx.Ref{".weight": b.dense([]projection{p})}
	}
	q := b.quantized([]projection{p}, b.policy.DType)
	refs := map[string]*mlx.Ref{".weight": q.weight, ".scales": q.scales}
	if q.biases != nil {
		refs[".biases"] = q.biases
	}
	return refs
}
