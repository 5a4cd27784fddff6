package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// numbers draws from [low, high).
func numbers(r *rand.Rand, count int, low, high float32) []float32 {
	out := make([]float32, count)
	for i := range out {
		out[i] = low + (high-low)*r.Float32()
	}
	return out
}

// logDecays are small ones, with some that forget all between them.
func logDecays(r *rand.Rand, count int) []float32 {
	out := numbers(r, count, -0.1, 0)
	for i := range out {
		if r.IntN(10) == 0 {
			out[i] = -300
		}
	}
	return out
}

// kept is an array that lives to the end of a test.
func kept(t *testing.T, stream mlx.Stream, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	t.Helper()
	var ref *mlx.Ref
	err := mlx.Build(stream, func(s *mlx.Scope) (err error) {
		ref, err = s.Keep(build(s))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// sameInParts checks that a layer gives the same for n tokens at once, for tokens in parts and for
// one at a time. forward takes tokens [from, to) and returns [rows, to-from, ...] and the state.
func sameInParts(stream mlx.Stream, n int, forward func(s *mlx.Scope, from, to int, state mlx.Array) (y, next mlx.Array)) error {
	run := func(each int) ([]float32, error) {
		return mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
			var parts []mlx.Array
			var state mlx.Array
			for from := 0; from < n; from += each {
				var y mlx.Array
				y, state = forward(s, from, min(from+each, n), state)
				parts = append(parts, s.Reshape(y, -1))
			}
			return s.Concatenate(0, append(parts, s.Reshape(state, -1))...)
		})
	}
	single, err := run(1)
	if err != nil {
		return err
	}
	for _, each := range []int{n, n/2 + 1, 5} {
		got, err := run(each)
		if err != nil {
			return err
		}
		for i, want := range single {
			if off := math.Abs(float64(got[i] - want)); !(off <= 1e-4*max(1, math.Abs(float64(want)))) {
				return fmt.Errorf("%d tokens by %d: element %d is %g, one by one %g", n, each, i, got[i], want)
			}
		}
	}
	return nil
}

func TestDeltaRuleInChunks(t *testing.T) {
	const heads, keyHeads, keyDim, dim = 4, 2, 16, 8
	keys := map[string]func(r *rand.Rand, n int) []float32{
		"random": func(r *rand.Rand, n int) []float32 { return numbers(r, n*keyHeads*keyDim, -0.4, 0.4) },
		// A token that repeats has the same key again and again: the matrix to invert is dense.
		"equal": func(_ *rand.Rand, n int) []float32 {
			out := make([]float32, n*keyHeads*keyDim)
			for i := range out {
				out[i] = 0.25
			}
			return out
		},
	}
	for name, draw := range keys {
		for _, n := range []int{2, 7, 64, 65, 150} {
			t.Run(fmt.Sprintf("%d tokens, %s keys", n, name), func(t *testing.T) {
				mlxtest.Run(t, func(stream mlx.Stream) error {
					r := rand.New(rand.NewPCG(1, uint64(n)))
					q, k, v := numbers(r, n*keyHeads*keyDim, -1, 1), draw(r, n), numbers(r, n*heads*dim, -1, 1)
					decays, strengths := logDecays(r, n*heads), numbers(r, n*heads, 0.9, 1)
					rule := &DeltaRule{levels: kept(t, stream, func(s *mlx.Scope) mlx.Array {
						return s.Float32s(deltaMasks(), deltaLevels, deltaChunk, deltaChunk)
					})}
					defer rule.levels.Free()
					return sameInParts(stream, n, func(s *mlx.Scope, from, to int, state mlx.Array) (y, next mlx.Array) {
						part := func(all []float32, shape ...int) mlx.Array {
							return s.SliceAxis(s.Float32s(all, append([]int{1, n}, shape...)...), 1, from, to)
						}
						return rule.Forward(s, part(q, keyHeads, keyDim), part(k, keyHeads, keyDim), part(v, heads, dim),
							part(decays, heads), part(strengths, heads), state)
					})
				})
			})
		}
	}
}

func TestSSMInChunks(t *testing.T) {
	const heads, groups, dim, size = 4, 2, 8, 16
	for _, n := range []int{2, 9, 128, 300} {
		mlxtest.Run(t, func(stream mlx.Stream) error {
			r := rand.New(rand.NewPCG(2, uint64(n)))
			x, b, c := numbers(r, n*heads*dim, -1, 1), numbers(r, n*groups*size, -1, 1), numbers(r, n*groups*size, -1, 1)
			dt := numbers(r, n*heads, -4, 1)
			vector := func(low, high float32) *mlx.Ref {
				return kept(t, stream, func(s *mlx.Scope) mlx.Array { return s.Float32s(numbers(r, heads, low, high), heads) })
			}
			m := &SSM{rate: vector(-2, -0.1), skip: vector(-1, 1), dtBias: vector(-1, 1), least: 0.01, most: 400}
			for i := range dt {
				if r.IntN(10) == 0 {
					dt[i] = 500 // forgets all
				}
			}
			defer m.rate.Free()
			defer m.skip.Free()
			defer m.dtBias.Free()
			return sameInParts(stream, n, func(s *mlx.Scope, from, to int, state mlx.Array) (y, next mlx.Array) {
				part := func(all []float32, shape ...int) mlx.Array {
					return s.SliceAxis(s.Float32s(all, append([]int{1, n}, shape...)...), 1, from, to)
				}
				return m.Forward(s, part(x, heads, dim), part(b, groups, size), part(c, groups, size), part(dt, heads), state)
			})
		})
	}
}

func TestCausalConvInChunks(t *testing.T) {
	const channels, kernel, n = 6, 4, 23
	mlxtest.Run(t, func(stream mlx.Stream) error {
		r := rand.New(rand.NewPCG(3, 1))
		x := numbers(r, n*channels, -1, 1)
		v := &CausalConv{
			weight: kept(t, stream, func(s *mlx.Scope) mlx.Array { return s.Float32s(numbers(r, kernel*channels, -1, 1), kernel, channels) }),
			bias:   kept(t, stream, func(s *mlx.Scope) mlx.Array { return s.Float32s(numbers(r, channels, -1, 1), channels) }),
			kernel: kernel,
		}
		defer v.weight.Free()
		defer v.bias.Free()
		return sameInParts(stream, n, func(s *mlx.Scope, from, to int, state mlx.Array) (y, next mlx.Array) {
			return v.Forward(s, s.SliceAxis(s.Float32s(x, 1, n, channels), 1, from, to), state)
		})
	})
}
