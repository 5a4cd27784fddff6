package mlx

/*
#cgo CXXFLAGS: -std=c++20 -O3 -I${SRCDIR}/../../.deps/mlxc/include -I${SRCDIR}/../../.deps/mlx/mlx/include
#include "bridge.h"
#include "qmm_linux.h"
#include "x86_linux_amd64.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
)

var instructionSets = map[string]C.enum_qmm_isa{"avx2": C.qmm_avx2, "avx512": C.qmm_avx512}

// chooseKernels says which instructions the operations of kernels.go use, and reports whether there
// are such operations. Instructions that the processor does not have are an error.
func chooseKernels(want string) (bool, error) {
	best := C.qmm_supported()
	switch want {
	case "off":
		return false, nil
	case "", "auto":
		C.x86_use(best)
		return best != C.qmm_none, nil
	}
	isa, known := instructionSets[want]
	if !known || isa > best {
		accepted := []string{"auto", "off"}
		for name, isa := range instructionSets {
			if isa <= best {
				accepted = append(accepted, name)
			}
		}
		slices.Sort(accepted)
		return false, fmt.Errorf("mlx: kernels %q are not for this processor; accepted: %s", want, strings.Join(accepted, ", "))
	}
	C.x86_use(isa)
	return true, nil
}

func (s *Scope) silu(x Array) Array {
	var out C.mlx_array
	return s.own("silu", C.x86_silu(&out, x.c(), s.stream), out, x)
}

func (s *Scope) gatedSiLU(gateUp Array) Array {
	var out C.mlx_array
	return s.own("gated_silu", C.x86_gated_silu(&out, gateUp.c(), s.stream), out, gateUp)
}

func (s *Scope) rmsNorm(x, weight Array, eps float32) Array {
	var out C.mlx_array
	return s.own("rms_norm", C.x86_rms_norm(&out, x.c(), weight.c(), C.float(eps), s.stream), out, x, weight)
}

func (s *Scope) causalSoftmax(scores Array, scale float32, window int) Array {
	var out C.mlx_array
	rc := C.x86_causal_softmax(&out, scores.c(), C.float(scale), C.int(window), s.stream)
	return s.own("softmax", rc, out, scores)
}

func (s *Scope) quantizedMatMul(x Array, q Quantized) Array {
	var out C.mlx_array
	rc := C.x86_quantized_matmul(
		&out, x.c(), q.Weight.c(), q.Scales.c(), q.Biases.c(), C.int(q.GroupSize), C.int(q.Bits), s.stream)
	return s.own("quantized_matmul", rc, out, x, q.Weight, q.Scales, q.Biases)
}

func (s *Scope) gatherQMM(x Array, q Quantized, indices Array) Array {
	var out C.mlx_array
	rc := C.x86_gather_quantized_matmul(
		&out, x.c(), q.Weight.c(), q.Scales.c(), q.Biases.c(), indices.c(), C.int(q.GroupSize), C.int(q.Bits), s.stream)
	return s.own("gather_qmm", rc, out, x, q.Weight, q.Scales, q.Biases, indices)
}

func (s *Scope) add(a, b Array) Array {
	var out C.mlx_array
	return s.own("add", C.x86_add(&out, a.c(), b.c(), s.stream), out, a, b)
}

func (s *Scope) rope(x Array, r RoPE, offset int, offsets Array) Array {
	var out C.mlx_array
	rc := C.x86_rope(&out, x.c(), C.int(r.Dims), C.bool(r.Traditional), C.float(r.Base), C.float(r.Scale),
		C.int(offset), offsets.c(), r.Freqs.c(), s.stream)
	return s.own("rope", rc, out, x, offsets)
}

func (s *Scope) attendOne(q, k, v, counts Array, scale float32) Array {
	var out C.mlx_array
	rc := C.x86_attend(&out, q.c(), k.c(), v.c(), counts.c(), C.float(scale), s.stream)
	return s.own("attend", rc, out, q, k, v)
}
