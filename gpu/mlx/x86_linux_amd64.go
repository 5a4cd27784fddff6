package mlx

/*
#cgo CXXFLAGS: -std=c++20 -O3 -I${SRCDIR}/../../.deps/mlxc/include -I${SRCDIR}/../../.deps/mlx/mlx/include
#include "bridge.h"
#include "x86_linux_amd64.h"
*/
import "C"

// kernelsSupported reports whether this processor can run the operations of kernels.go.
func kernelsSupported() bool { return bool(C.x86_supported()) }

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

func (s *Scope) attendOne(q, k, v, counts Array, scale float32) Array {
	var out C.mlx_array
	rc := C.x86_attend(&out, q.c(), k.c(), v.c(), counts.c(), C.float(scale), s.stream)
	return s.own("attend", rc, out, q, k, v)
}
