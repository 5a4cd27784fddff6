// Package cache holds what attention remembers of sequences: of one whose prompt is being
// computed (Sequence), and of those that decode together (Batch). A forward pass over both is a
// Pass. Everything belongs to the MLX thread.
package cache

// Layer says what a layer's attention remembers of a sequence.
type Layer struct {
	// Window is how many positions a token sees, itself included; 0: all before it.
	Window int
}

// Spec is how the caches of a model are laid out.
type Spec struct {
	Layers []Layer

	// LeastCapacity is the least number of positions that buffers hold, a multiple of 2. Sequences
	// of one capacity decode as one group: small steps save memory and padding, large ones groups.
	LeastCapacity int
}

// CapacityFor returns the positions that buffers for n tokens hold: the least capacity c, 1.5 c,
// 2 c, 3 c, 4 c, 6 c and so on. So padding costs at most half of what is computed, and a growing
// sequence is copied a logarithmic number of times.
func (s Spec) CapacityFor(n int) int {
	capacity := s.LeastCapacity
	for capacity < n {
		if half := capacity + capacity/2; half >= n {
			return half
		}
		capacity *= 2
	}
	return capacity
}

// positions returns how many of the buffers' capacity positions the layer keeps.
func (l Layer) positions(capacity int) int {
	if l.Window > 0 {
		return min(l.Window, capacity)
	}
	return capacity
}
