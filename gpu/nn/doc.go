// Package nn holds the layers that model families are made of. Families ask a [Builder] for
// layers by name and never know the backend: how a layer computes there is the Policy's matter.
package nn

import (
	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
)

// Context is one forward pass: the scope its arrays belong to and the caches it extends. The
// pass's tokens, [1, T], are folded: projections see them as one matrix of T rows, whichever
// sequences they are of, and only attention and recurrent layers take them apart.
type Context struct {
	*mlx.Scope
	Pass *cache.Pass
}

// Policy says how a backend wants its weights.
type Policy struct {
	Backend mlx.Backend

	// DType is what floats are cast to while loading; nil: the checkpoint's own.
	DType *mlx.DType

	// DenseWeights replaces quantised matrices by dense ones in DType. MLX's quantised product
	// is scalar code on the CPU, where a dense product through BLAS is several times faster; it is
	// not where mlx.Scope.MultipliesQuantized says so.
	DenseWeights bool
	// Kernels says that scopes have mlx.Scope.Kernels.
	Kernels bool
	// Conversion, if not nil, quantises while loading.
	Conversion *Conversion
}
