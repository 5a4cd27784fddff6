package mlx

// #include "bridge.h"
import "C"

// BiasedAttention is Attention that adds bias, broadcast to [B, heads, L, S] and of the dtype of q,
// to the scaled scores. A bias of the lowest finite number hides a key.
func (s *Scope) BiasedAttention(q, k, v Array, scale float32, bias Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out, sinks C.mlx_array
	rc := C.mlx_fast_scaled_dot_product_attention(&out, q.c(), k.c(), v.c(), C.float(scale), maskArray, bias.c(), sinks, false, s.stream)
	return s.own("scaled_dot_product_attention", rc, out, q, k, v, bias)
}
