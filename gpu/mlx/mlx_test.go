package mlx_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

var (
	thread *mlx.Thread
	rt     *mlx.Runtime
)

func TestMain(m *testing.M) {
	thread = mlx.NewThread()
	err := thread.Do(context.Background(), func() (err error) {
		rt, err = mlx.Open(mlx.Options{Device: "cpu", CacheLimitBytes: -1})
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open MLX:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := thread.Do(context.Background(), rt.Close); err != nil {
		fmt.Fprintln(os.Stderr, "close MLX:", err)
		code = 1
	}
	thread.Close()
	os.Exit(code)
}

// onThread runs fn on the MLX thread; fn reports failures by its error, since FailNow may only
// be called from the test's goroutine.
func onThread(t *testing.T, fn func() error) {
	t.Helper()
	if err := thread.Do(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// compute builds in a scope, keeps the result, closes the scope and reads it.
func compute(build func(s *mlx.Scope) mlx.Array) ([]float32, error) {
	var kept *mlx.Ref
	err := mlx.Build(rt.Stream, func(s *mlx.Scope) (err error) {
		kept, err = s.Keep(build(s))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer kept.Free()
	return mlx.ReadFloat32s(rt.Stream, kept.Array())
}

func expect(t *testing.T, name string, want []float32, build func(s *mlx.Scope) mlx.Array) {
	t.Helper()
	onThread(t, func() error {
		got, err := compute(build)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(got) != len(want) {
			return fmt.Errorf("%s: got %v, want %v", name, got, want)
		}
		for i := range want {
			if diff := math.Abs(float64(got[i] - want[i])); diff > 1e-5 || got[i] != got[i] {
				return fmt.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		return nil
	})
}

func TestOperations(t *testing.T) {
	m := func(s *mlx.Scope) mlx.Array { return s.Float32s([]float32{1, 2, 3, 4, 5, 6}, 2, 3) }
	expect(t, "add", []float32{2, 4, 6, 8, 10, 12}, func(s *mlx.Scope) mlx.Array { return s.Add(m(s), m(s)) })
	expect(t, "subtract", make([]float32, 6), func(s *mlx.Scope) mlx.Array { return s.Subtract(m(s), m(s)) })
	expect(t, "multiply", []float32{1, 4, 9, 16, 25, 36}, func(s *mlx.Scope) mlx.Array { return s.Multiply(m(s), m(s)) })
	expect(t, "matmul", []float32{14, 32, 32, 77}, func(s *mlx.Scope) mlx.Array {
		return s.MatMul(m(s), s.Transpose(m(s), 1, 0))
	})
	expect(t, "matmul of one row", []float32{14, 32}, func(s *mlx.Scope) mlx.Array {
		return s.MatMul(s.Float32s([]float32{1, 2, 3}, 1, 3), s.Transpose(m(s), 1, 0))
	})
	expect(t, "matmul of one row, plain layout", []float32{9, 12, 15}, func(s *mlx.Scope) mlx.Array {
		return s.MatMul(s.Float32s([]float32{1, 2}, 1, 2), m(s))
	})
	expect(t, "addmm", []float32{15, 33, 33, 78}, func(s *mlx.Scope) mlx.Array {
		return s.AddMM(s.Scalar(1, mlx.Float32), m(s), s.Transpose(m(s), 1, 0))
	})
	expect(t, "slice", []float32{2, 3, 5, 6}, func(s *mlx.Scope) mlx.Array { return s.SliceAxis(m(s), -1, 1, 3) })
	expect(t, "slice_update", []float32{1, 9, 3, 4, 5, 6}, func(s *mlx.Scope) mlx.Array {
		return s.SliceUpdate(m(s), s.Float32s([]float32{9}, 1, 1), []int{0, 1}, []int{1, 2})
	})
	expect(t, "concatenate", []float32{1, 2, 3, 4, 5, 6, 0, 0, 0}, func(s *mlx.Scope) mlx.Array {
		return s.Concatenate(0, m(s), s.Zeros(mlx.Float32, 1, 3))
	})
	expect(t, "argmax takes the lowest index on ties", []float32{1}, func(s *mlx.Scope) mlx.Array {
		return s.ArgMax(s.Float32s([]float32{0, 7, 7}, 3), 0, false)
	})
	expect(t, "cumsum", []float32{1, 3, 6, 4, 9, 15}, func(s *mlx.Scope) mlx.Array { return s.CumSum(m(s), 1, false) })
	expect(t, "exclusive reverse cumsum", []float32{5, 3, 0, 11, 6, 0}, func(s *mlx.Scope) mlx.Array {
		return s.ExclusiveCumSum(m(s), 1, true)
	})
	expect(t, "take", []float32{4, 5, 6, 1, 2, 3}, func(s *mlx.Scope) mlx.Array {
		return s.Take(m(s), s.Int32s([]int32{1, 0}, 2), 0)
	})
	expect(t, "where", []float32{0, 0, 3, 4, 5, 6}, func(s *mlx.Scope) mlx.Array {
		a := m(s)
		return s.Where(s.Less(a, s.Scalar(3, mlx.Float32)), s.Scalar(0, mlx.Float32), a)
	})
	expect(t, "rms_norm", []float32{0.46290955, 0.92581910, 1.3887286}, func(s *mlx.Scope) mlx.Array {
		return s.RMSNorm(s.Float32s([]float32{1, 2, 3}, 1, 3), s.Float32s([]float32{1, 1, 1}, 3), 1e-5)
	})
	expect(t, "half precision cast", []float32{0.5, 65504}, func(s *mlx.Scope) mlx.Array {
		return s.AsType(s.Float32s([]float32{0.5, 65504}, 2), mlx.Float16)
	})
}

func TestQuantizedMatMulEqualsDequantised(t *testing.T) {
	for _, bits := range []int{4, 8} {
		onThread(t, func() error {
			got, err := compute(func(s *mlx.Scope) mlx.Array {
				x := s.RandomNormal(s.RandomKey(1, 0), 3, 64)
				w := s.Quantize(s.RandomNormal(s.RandomKey(1, 1), 8, 64), 32, bits, mlx.Affine)
				dense := s.Dequantize(w)
				return s.Subtract(s.QuantizedMatMul(x, w), s.MatMul(x, s.Transpose(dense, 1, 0)))
			})
			if err != nil {
				return err
			}
			for _, d := range got {
				if math.Abs(float64(d)) > 1e-4 {
					return fmt.Errorf("%d bits: differs by %g", bits, d)
				}
			}
			return nil
		})
	}
}

// gemm is the schoolbook product, in float64.
func gemm(a, b []float32, m, k, n int) []float32 {
	out := make([]float32, m*n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += float64(a[i*k+l]) * float64(b[j*k+l])
			}
			out[i*n+j] = float32(sum)
		}
	}
	return out
}

func TestMatMulAgainstSchoolbook(t *testing.T) {
	for _, shape := range [][3]int{{1, 64, 48}, {2, 33, 7}, {5, 128, 96}, {1, 40, 1000}, {3, 64, 1001}, {40, 100, 777}} {
		m, k, n := shape[0], shape[1], shape[2]
		onThread(t, func() error {
			var a, b []float32
			read := func(counter uint64, rows int) ([]float32, error) {
				return compute(func(s *mlx.Scope) mlx.Array { return s.RandomNormal(s.RandomKey(7, counter), rows, k) })
			}
			a, err := read(0, m)
			if err != nil {
				return err
			}
			if b, err = read(1, n); err != nil {
				return err
			}
			got, err := compute(func(s *mlx.Scope) mlx.Array {
				return s.MatMul(s.Float32s(a, m, k), s.Transpose(s.Float32s(b, n, k), 1, 0))
			})
			if err != nil {
				return err
			}
			for i, want := range gemm(a, b, m, k, n) {
				if math.Abs(float64(got[i]-want)) > 1e-4 {
					return fmt.Errorf("%v: element %d is %g, want %g", shape, i, got[i], want)
				}
			}
			return nil
		})
	}
}

// TestProductsDoNotDependOnThreads compares bits: pieces of a product are cut by its shape.
func TestProductsDoNotDependOnThreads(t *testing.T) {
	products := func(threads int) (out []float32) {
		mlxtest.RunWith(t, mlx.Options{Device: "cpu", CPUThreads: threads, CacheLimitBytes: -1}, func(stream mlx.Stream) error {
			for m := range 4 {
				got, err := mlxtest.Float32s(stream, func(s *mlx.Scope) mlx.Array {
					a := s.RandomNormal(s.RandomKey(5, 0), m*m*m+1, 300)
					b := s.RandomNormal(s.RandomKey(5, 1), 2000, 300)
					return s.MatMul(a, s.Transpose(b, 1, 0))
				})
				if err != nil {
					return err
				}
				out = append(out, got...)
			}
			return nil
		})
		return out
	}
	one := products(1)
	for _, threads := range []int{2, 5} {
		for i, v := range products(threads) {
			if v != one[i] {
				t.Fatalf("element %d is %g with %d threads and %g with one", i, v, threads, one[i])
			}
		}
	}
}

func TestErrorNamesOperationAndShapes(t *testing.T) {
	onThread(t, func() error {
		_, err := compute(func(s *mlx.Scope) mlx.Array {
			bad := s.MatMul(s.Zeros(mlx.Float32, 2, 3), s.Zeros(mlx.Float32, 2, 3))
			return s.Add(bad, bad) // must not replace the first error
		})
		var op *mlx.OpError
		if !errors.As(err, &op) {
			return fmt.Errorf("got %v, want an OpError", err)
		}
		if op.Op != "matmul" || op.Inputs[0] != "float32[2,3]" || op.Message == "" || strings.Contains(op.Message, "/") {
			return fmt.Errorf("unhelpful error: %q", err)
		}
		return nil
	})
	expect(t, "the thread works after an error", []float32{2}, func(s *mlx.Scope) mlx.Array {
		return s.Add(s.Scalar(1, mlx.Float32), s.Scalar(1, mlx.Float32))
	})
}

func TestFromBytesChecksLength(t *testing.T) {
	onThread(t, func() error {
		_, err := compute(func(s *mlx.Scope) mlx.Array { return s.FromBytes(make([]byte, 7), mlx.Float32, 2) })
		if err == nil || !strings.Contains(err.Error(), "7 bytes") {
			return fmt.Errorf("got %v, want an error that names 7 bytes", err)
		}
		return nil
	})
}

func TestUseAfterClosePanics(t *testing.T) {
	err := thread.Do(context.Background(), func() error {
		s := mlx.NewScope(rt.Stream)
		a := s.Scalar(1, mlx.Float32)
		kept, err := s.Keep(a)
		if err != nil {
			return err
		}
		defer kept.Free()
		s.Close()
		s.Add(kept.Array(), kept.Array())
		return nil
	})
	var panicked *mlx.PanicError
	if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "TestUseAfterClosePanics") {
		t.Fatalf("got %v, want a PanicError with this test in its stack", err)
	}
}

func TestRandomKeyIsDeterministicAndDistinct(t *testing.T) {
	draw := func(seed, counter uint64) (out []float32) {
		onThread(t, func() (err error) {
			out, err = compute(func(s *mlx.Scope) mlx.Array { return s.RandomNormal(s.RandomKey(seed, counter), 4) })
			return err
		})
		return out
	}
	a, again, other, otherSeed := draw(1, 2), draw(1, 2), draw(1, 3), draw(2, 2)
	if fmt.Sprint(a) != fmt.Sprint(again) {
		t.Errorf("same key, different draws: %v and %v", a, again)
	}
	if fmt.Sprint(a) == fmt.Sprint(other) || fmt.Sprint(a) == fmt.Sprint(otherSeed) {
		t.Errorf("different keys, same draw: %v", a)
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// floats builds an array on the test thread and returns its elements.
func floats(t *testing.T, build func(s *mlx.Scope) mlx.Array) (out []float32) {
	t.Helper()
	onThread(t, func() (err error) {
		out, err = compute(build)
		return err
	})
	return out
}
