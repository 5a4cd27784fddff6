package nn

import (
	"slices"

	"mlx-worker/gpu/load"
)

// ReorderRows makes row i of what the checkpoint holds of the projection at path its row order[i],
// for families whose projections have outputs in an order of their own. order is a permutation.
func (b *Builder) ReorderRows(path string, order []int) {
	for _, part := range []string{".weight", ".scales", ".biases", ".bias"} {
		a, ok := b.arrays[path+part]
		if !ok {
			continue
		}
		if len(a.Shape) == 0 || a.Shape[0] != len(order) {
			b.fail("tensor %q has shape %v, and the configuration says %d rows", a.Name, a.Shape, len(order))
			return
		}
		b.arrays[path+part] = reordered(a, order)
	}
}

func reordered(a load.Array, order []int) load.Array {
	fill, row := a.Fill, a.Size()/len(order)
	a.Fill = func(dst []byte) error {
		if err := fill(dst); err != nil {
			return err
		}
		stored := slices.Clone(dst)
		for to, from := range order {
			copy(dst[to*row:][:row], stored[from*row:][:row])
		}
		return nil
	}
	return a
}
