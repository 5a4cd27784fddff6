package mlx_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// needKernels skips the test where the operations do not exist.
func needKernels(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		t.Skip("the operations of the CPU backend need Linux and an x86-64 processor with AVX2 and FMA")
	}
}

// withKernels runs fn on streams with and without the CPU's own operations.
func withKernels(t *testing.T, build func(s *mlx.Scope) mlx.Array) (own, plain []float32) {
	t.Helper()
	needKernels(t)
	for _, useOwn := range []bool{true, false} {
		options := mlx.Options{Device: "cpu", CPUThreads: 2, CacheLimitBytes: -1, CPUKernels: map[bool]string{false: "off"}[useOwn]}
		mlxtest.RunWith(t, options, func(stream mlx.Stream) error {
			out, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
				if s.Kernels() != useOwn {
					t.Errorf("kernels: %v, want %v", s.Kernels(), useOwn)
				}
				return build(s)
			})
			if useOwn {
				own = out
			} else {
				plain = out
			}
			return err
		})
	}
	return own, plain
}

// expectClose compares by the relative error of the whole.
func expectClose(t *testing.T, label string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%s: %d elements, want %d", label, len(got), len(want))
	}
	var off, all float64
	for i := range want {
		d := float64(got[i] - want[i])
		off += d * d
		all += float64(want[i]) * float64(want[i])
	}
	if relative := math.Sqrt(off / all); !(relative <= 2e-6) {
		t.Errorf("%s: relative error %g", label, relative)
	}
}

func TestKernelsEqualMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		rows, width := 1+r.IntN(70), 1+r.IntN(700)
		x := func(s *mlx.Scope, counter uint64, shape ...int) mlx.Array {
			return s.Multiply(s.RandomNormal(s.RandomKey(3, counter), shape...), s.Scalar(4, mlx.Float32))
		}
		label := fmt.Sprintf("%d rows of %d", rows, width)
		own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
			if s.Kernels() {
				return s.SiLU(x(s, 0, rows, width))
			}
			a := x(s, 0, rows, width)
			return s.Multiply(a, s.Sigmoid(a))
		})
		expectClose(t, "silu, "+label, own, plain)
		own, plain = withKernels(t, func(s *mlx.Scope) mlx.Array {
			both := x(s, 1, 1, rows, 2*width)
			if s.Kernels() {
				return s.GatedSiLU(both)
			}
			gate := s.SliceAxis(both, -1, 0, width)
			return s.Multiply(s.Multiply(gate, s.Sigmoid(gate)), s.SliceAxis(both, -1, width, 2*width))
		})
		expectClose(t, "gated silu, "+label, own, plain)
		own, plain = withKernels(t, func(s *mlx.Scope) mlx.Array {
			// A part of a wider array, so that rows are not dense.
			part := s.SliceAxis(x(s, 2, rows, width+3), -1, 1, width+1)
			return s.RMSNorm(part, x(s, 3, width), 1e-5)
		})
		expectClose(t, "rms norm, "+label, own, plain)
		own, plain = withKernels(t, func(s *mlx.Scope) mlx.Array { return s.RMSNorm(x(s, 4, rows, width), mlx.Array{}, 1e-6) })
		expectClose(t, "plain rms norm, "+label, own, plain)
	}
}

func TestCausalSoftmaxEqualsMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 60 {
		queries, window := 1+r.IntN(40), 0
		keys := queries + r.IntN(90)
		if r.IntN(2) == 0 {
			window = 1 + r.IntN(keys)
		}
		own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
			scores := s.Multiply(s.RandomNormal(s.RandomKey(9, 1), 2, 3, queries, keys), s.Scalar(20, mlx.Float32))
			if s.Kernels() {
				return s.CausalSoftmax(scores, 0.25, window)
			}
			distance := s.Subtract(
				s.Reshape(s.Arange(float64(keys-queries), float64(keys), 1, mlx.Int32), queries, 1), s.Arange(0, float64(keys), 1, mlx.Int32))
			visible := s.GreaterEqual(distance, s.Int32s([]int32{0}, 1))
			if window > 0 {
				visible = s.LogicalAnd(visible, s.Less(distance, s.Int32s([]int32{int32(window)}, 1)))
			}
			scaled := s.Multiply(scores, s.Scalar(0.25, mlx.Float32))
			return s.PreciseSoftmax(s.Where(visible, scaled, s.Scalar(math.Inf(-1), mlx.Float32)), -1)
		})
		expectClose(t, fmt.Sprintf("%d queries, %d keys, window %d", queries, keys, window), own, plain)
	}
}

// TestAttendOneEqualsMLX reads keys and values from the middle of larger buffers, as the cache's.
func TestAttendOneEqualsMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 60 {
		rows, kvHeads, group, dim := 1+r.IntN(5), 1+r.IntN(3), 1+r.IntN(4), 8*(1+r.IntN(20))
		capacity := 2 + r.IntN(120)
		span := 1 + r.IntN(capacity)
		counts := make([]int32, rows)
		for i := range counts {
			counts[i] = int32(1 + r.IntN(span))
		}
		ragged := r.IntN(2) == 0
		own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
			q := s.RandomNormal(s.RandomKey(11, 1), rows, kvHeads*group, 1, dim)
			buffer := func(counter uint64) mlx.Array {
				whole := s.RandomNormal(s.RandomKey(11, counter), rows+1, kvHeads, capacity, dim)
				return s.Slice(whole, []int{0, 0, 0, 0}, []int{rows, kvHeads, span, dim})
			}
			k, v := buffer(2), buffer(3)
			visible := s.Int32s(counts, rows)
			if s.Kernels() {
				if !ragged {
					visible = mlx.Array{}
				}
				return s.AttendOne(q, k, v, visible, 0.3)
			}
			mask := mlx.Mask{}
			if ragged {
				mask.Visible = s.Less(s.Arange(0, float64(span), 1, mlx.Int32), s.Reshape(visible, rows, 1, 1, 1))
			}
			return s.Attention(q, k, v, 0.3, mask, mlx.Array{})
		})
		expectClose(t, fmt.Sprintf("%d rows, %d of %d heads, %d of %d positions, dim %d, ragged %v", rows, kvHeads, group, span, capacity, dim, ragged), own, plain)
	}
}

func TestKernelsTakeExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	own, plain := withKernels(t, func(s *mlx.Scope) mlx.Array {
		x := s.Float32s([]float32{0, -0, 100, -100, 3e38, -3e38, -inf, 1e-30, -87, 88.5}, 10)
		if s.Kernels() {
			return s.SiLU(x)
		}
		return s.Where(s.Less(x, s.Scalar(-1e38, mlx.Float32)), s.Scalar(0, mlx.Float32), s.Multiply(x, s.Sigmoid(x)))
	})
	for i := range plain {
		if math.Abs(float64(own[i]-plain[i])) > 1e-6*math.Abs(float64(plain[i]))+1e-30 && !(own[i] != own[i] && i == 6) {
			t.Errorf("silu, element %d: %g, want %g", i, own[i], plain[i])
		}
	}
	own, _ = withKernels(t, func(s *mlx.Scope) mlx.Array {
		x := s.Float32s([]float32{nan, 1, 2}, 1, 3)
		if s.Kernels() {
			return s.SiLU(x)
		}
		return x
	})
	if own[0] == own[0] || own[1] != own[1] {
		t.Errorf("silu of NaN: %v", own)
	}
}

func TestKernelsRefuseBadArrays(t *testing.T) {
	needKernels(t)
	mlxtest.Run(t, func(stream mlx.Stream) error {
		for name, build := range map[string]func(s *mlx.Scope) mlx.Array{
			"half precision": func(s *mlx.Scope) mlx.Array { return s.SiLU(s.Zeros(mlx.Float16, 4)) },
			"an odd gate":    func(s *mlx.Scope) mlx.Array { return s.GatedSiLU(s.Zeros(mlx.Float32, 3)) },
			"a short weight": func(s *mlx.Scope) mlx.Array {
				return s.RMSNorm(s.Zeros(mlx.Float32, 4), s.Zeros(mlx.Float32, 3), 1)
			},
			"more queries than keys": func(s *mlx.Scope) mlx.Array { return s.CausalSoftmax(s.Zeros(mlx.Float32, 3, 2), 1, 0) },
			"a null array":           func(s *mlx.Scope) mlx.Array { return s.SiLU(mlx.Array{}) },
			"heads that do not group": func(s *mlx.Scope) mlx.Array {
				kv := s.Zeros(mlx.Float32, 1, 2, 4, 8)
				return s.AttendOne(s.Zeros(mlx.Float32, 1, 3, 1, 8), kv, kv, mlx.Array{}, 1)
			},
			"counts of another length": func(s *mlx.Scope) mlx.Array {
				kv := s.Zeros(mlx.Float32, 1, 2, 4, 8)
				return s.AttendOne(s.Zeros(mlx.Float32, 1, 2, 1, 8), kv, kv, s.Int32s([]int32{1, 1}, 2), 1)
			},
		} {
			s := mlx.NewScope(stream)
			if build(s); s.Err() == nil {
				t.Errorf("%s: no error", name)
			}
			s.Close()
		}
		return nil
	})
}

func TestRoPEKernelEqualsMLX(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for i := range 80 {
		rows, heads, length, dim := 1+r.IntN(3), 1+r.IntN(5), 1+r.IntN(9), 2*(1+r.IntN(40))
		rope := mlx.RoPE{Dims: 2 * (1 + r.IntN(dim/2)), Traditional: r.IntN(2) == 0, Base: 10000, Scale: 1}
		if r.IntN(3) == 0 {
			rope.Base, rope.Scale = 1e6, 0.25
		}
		withFreqs, offset := r.IntN(3) == 0, r.IntN(3000)
		build := func(s *mlx.Scope) mlx.Array {
			// Heads as attention has them: a part of what a projection gave, transposed.
			x := s.Transpose(s.RandomNormal(s.RandomKey(8, uint64(i)), rows, length, heads+2, dim), 0, 2, 1, 3)
			x = s.SliceAxis(x, 1, 1, heads+1)
			p := rope
			if withFreqs {
				p.Freqs = s.Add(s.Multiply(s.Arange(0, float64(rope.Dims/2), 1, mlx.Float32), s.Scalar(3, mlx.Float32)), s.Scalar(1, mlx.Float32))
			}
			if i%2 == 0 {
				return s.RoPE(x, p, offset)
			}
			offsets := make([]int32, rows)
			for row := range offsets {
				offsets[row] = int32(offset + 7*row)
			}
			return s.RoPEAt(x, p, s.Int32s(offsets, rows))
		}
		own, plain := withKernels(t, build)
		expectClose(t, fmt.Sprintf("%+v, [%d %d %d %d] from %d", rope, rows, heads, length, dim, offset), own, plain)
	}
}

// TestUnknownKernelsAreRefused: what the processor cannot run is an error that names what it can.
func TestUnknownKernelsAreRefused(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rt, err := mlx.Open(mlx.Options{Device: "cpu", CPUKernels: "sse9"})
	if err == nil {
		t.Error(errors.Join(errors.New("opened"), rt.Close()))
	} else if !strings.Contains(err.Error(), "accepted: auto") {
		t.Errorf("%q does not say what is accepted", err)
	}
}
