package mlx

// RandomKey returns the random key, uint32[2], of draw number counter under a seed. Equal
// arguments give equal keys on every backend, whatever else runs.
func (s *Scope) RandomKey(seed, counter uint64) Array {
	mixed := splitMix64(seed ^ splitMix64(counter))
	return s.Uint32s([]uint32{uint32(mixed >> 32), uint32(mixed)}, 2)
}

// splitMix64 is the output function of Steele, Lea and Flood's SplitMix generator.
func splitMix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}
