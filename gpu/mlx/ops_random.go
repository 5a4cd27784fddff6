package mlx

import (
	"math"
	"math/bits"
)

// Uniform returns the number in [0, 1) that MLX's uniform draws for one element with the key
// RandomKey(seed, counter), without the device.
func Uniform(seed, counter uint64) float32 {
	mixed := splitMix64(seed ^ splitMix64(counter))
	u := float32(threefry(uint32(mixed>>32), uint32(mixed))) / math.MaxUint32
	return min(u, 1-0x1p-24)
}

// threefry returns the first word of block 0 of Salmon and others' Threefry-2x32 with 20 rounds,
// the generator of MLX's RandomBits.
func threefry(key0, key1 uint32) uint32 {
	keys := [3]uint32{key0, key1, key0 ^ key1 ^ 0x1bd11bda}
	rotations := [2][4]int{{13, 15, 26, 6}, {17, 29, 16, 24}}
	a, b := keys[0], keys[1]
	for round := range 5 {
		for _, r := range rotations[round%2] {
			a += b
			b = bits.RotateLeft32(b, r) ^ a
		}
		a += keys[(round+1)%3]
		b += keys[(round+2)%3] + uint32(round) + 1
	}
	return a
}
