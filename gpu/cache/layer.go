// Package cache holds what a model remembers of sequences: of one whose prompt is being computed
// (Sequence), and of those that decode together (Batch). Attention remembers keys and values,
// recurrent layers a state of fixed size. A forward pass over both is a Pass. Everything belongs
// to the MLX thread.
package cache

import (
	"math"
	"slices"
)

// Layer says what a layer remembers of a sequence: keys and values, or a state.
type Layer struct {
	// Window is how many positions a token sees, itself included; 0: all before it.
	Window int

	// Block divides the positions into blocks of so many: a token sees those of its own block up to
	// itself, which excludes Window. 0: no blocks.
	Block int

	// Recurrent layers keep a state, a list of arrays of fixed size, instead of keys and values.
	Recurrent bool
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
// sequence is copied a logarithmic number of times. States alone hold any number.
func (s Spec) CapacityFor(n int) int {
	if len(s.Layers) > 0 && !slices.ContainsFunc(s.Layers, func(l Layer) bool { return !l.Recurrent }) {
		return math.MaxInt
	}
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
	if l.Recurrent {
		return 0
	}
	if l.rolls() {
		return min(l.Window+l.Block, capacity)
	}
	return capacity
}

// rolls reports whether the layer forgets, so that position p is kept at p modulo positions.
func (l Layer) rolls() bool { return l.Window > 0 || l.Block > 0 }

// seen is how many of the kept positions the token after length others sees, itself included.
func (l Layer) seen(length, positions int) int {
	if l.Block > 0 {
		return length%positions + 1
	}
	return min(length+1, positions)
}

// before is how many positions before it the token after length others sees.
func (l Layer) before(length int) int {
	switch {
	case l.Window > 0:
		return min(length, l.Window-1)
	case l.Block > 0:
		return length % l.Block
	}
	return length
}
