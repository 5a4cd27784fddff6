package mlx_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"mlx-worker/gpu/mlx"
)

// BenchmarkQuantizedMatMul multiplies by matrices of SmolLM2-135M's shapes with each kind of kernel
// that the processor has; GMAC/s are 10⁹ multiply-adds a second. MLX_TEST_CPU_THREADS: threads (1).
func BenchmarkQuantizedMatMul(b *testing.B) {
	threads := 1
	if said := os.Getenv("MLX_TEST_CPU_THREADS"); said != "" {
		if _, err := fmt.Sscan(said, &threads); err != nil {
			b.Fatal(err)
		}
	}
	for _, kernels := range []string{"off", "avx2", "avx512"} {
		for _, m := range []struct{ in, out, bits int }{{576, 3072, 4}, {1536, 576, 4}, {576, 49152, 8}} {
			for _, rows := range []int{1, 4, 16, 32, 128, 512} {
				if kernels == "off" && rows > 4 {
					continue // linear in rows
				}
				b.Run(fmt.Sprintf("%s/%dx%d_%dbit/rows=%d", kernels, m.in, m.out, m.bits, rows), func(b *testing.B) {
					benchmarkQuantizedMatMul(b, mlx.Options{Device: "cpu", CPUThreads: threads, CacheLimitBytes: -1, CPUKernels: kernels}, rows, m.in, m.out, m.bits)
				})
			}
		}
	}
}

func benchmarkQuantizedMatMul(b *testing.B, options mlx.Options, rows, in, out, bits int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rt, err := mlx.Open(options)
	if err != nil {
		b.Skip(err)
	}
	defer func() {
		if err := rt.Close(); err != nil {
			b.Error(err)
		}
	}()
	var refs []*mlx.Ref
	keep := func(s *mlx.Scope, a mlx.Array) error {
		ref, err := s.Keep(a)
		refs = append(refs, ref)
		return err
	}
	defer func() {
		for _, ref := range refs {
			ref.Free()
		}
	}()
	err = mlx.Build(rt.Stream, func(s *mlx.Scope) error {
		w := s.Quantize(s.RandomNormal(s.RandomKey(1, 0), out, in), 32, bits, mlx.Affine)
		for _, a := range []mlx.Array{s.RandomNormal(s.RandomKey(2, 0), rows, in), w.Weight, w.Scales, w.Biases} {
			if err := keep(s, a); err != nil {
				return err
			}
		}
		return mlx.Eval(refs[0].Array(), refs[1].Array(), refs[2].Array(), refs[3].Array())
	})
	if err != nil {
		b.Fatal(err)
	}
	w := mlx.Quantized{Weight: refs[1].Array(), Scales: refs[2].Array(), Biases: refs[3].Array(), GroupSize: 32, Bits: bits, Mode: mlx.Affine}
	for b.Loop() {
		if err := mlx.Build(rt.Stream, func(s *mlx.Scope) error { return mlx.Eval(s.QuantizedMatMul(refs[0].Array(), w)) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(in)*float64(out)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
}
