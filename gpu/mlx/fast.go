package mlx

// #include <stdlib.h>
// #include "bridge.h"
// #cgo noescape mlx_fast_rope
// #cgo nocallback mlx_fast_rope
// #cgo noescape mlx_fast_rope_dynamic
// #cgo nocallback mlx_fast_rope_dynamic
// #cgo noescape mlx_fast_rms_norm
// #cgo nocallback mlx_fast_rms_norm
// #cgo noescape mlx_fast_scaled_dot_product_attention
// #cgo nocallback mlx_fast_scaled_dot_product_attention
// #cgo noescape mlx_quantized_matmul
// #cgo nocallback mlx_quantized_matmul
import "C"

// C strings that never change, made once.
var (
	maskNone   = C.CString("")
	maskCausal = C.CString("causal")
	maskArray  = C.CString("array")
	modeNames  = map[QuantMode]*C.char{
		Affine: C.CString(string(Affine)),
		MXFP4:  C.CString(string(MXFP4)),
		MXFP8:  C.CString(string(MXFP8)),
		NVFP4:  C.CString(string(NVFP4)),
	}
)

// RMSNorm returns x / sqrt(mean(x², last axis) + eps) * weight, accumulated in float32.
// weight has the size of x's last axis.
func (s *Scope) RMSNorm(x, weight Array, eps float32) Array {
	if s.err != nil {
		return Array{}
	}
	if s.kernels && x.DType() == Float32 {
		return s.rmsNorm(x, weight, eps)
	}
	var out C.mlx_array
	return s.own("rms_norm", C.mlx_fast_rms_norm(&out, x.c(), weight.c(), C.float(eps), s.stream), out, x, weight)
}

// RoPE is the fixed part of a rotary position embedding.
type RoPE struct {
	Dims        int     // leading dimensions of each head that are rotated
	Traditional bool    // rotate neighbours (2i, 2i+1) instead of halves (i, i+d/2)
	Base        float32 // θ; ignored if Freqs is set
	Scale       float32 // multiplies positions
	Freqs       Array   // float32[Dims/2] wavelengths over 2π, or null
}

// RoPE rotates x, [B, heads, L, head_dim], whose first position is offset in every row.
func (s *Scope) RoPE(x Array, r RoPE, offset int) Array {
	if s.err != nil {
		return Array{}
	}
	if s.kernels && x.DType() == Float32 {
		return s.rope(x, r, offset, Array{})
	}
	var out C.mlx_array
	rc := C.mlx_fast_rope(&out, x.c(), C.int(r.Dims), C.bool(r.Traditional), r.base(), C.float(r.Scale), C.int(offset), r.Freqs.c(), s.stream)
	return s.own("rope", rc, out, x)
}

// RoPEAt is RoPE with a first position for each row: offsets is int32 [B].
func (s *Scope) RoPEAt(x Array, r RoPE, offsets Array) Array {
	if s.err != nil {
		return Array{}
	}
	if s.kernels && x.DType() == Float32 {
		return s.rope(x, r, 0, offsets)
	}
	var out C.mlx_array
	rc := C.mlx_fast_rope_dynamic(&out, x.c(), C.int(r.Dims), C.bool(r.Traditional), r.base(), C.float(r.Scale), offsets.c(), r.Freqs.c(), s.stream)
	return s.own("rope_dynamic", rc, out, x, offsets)
}

func (r RoPE) base() C.mlx_optional_float {
	return C.mlx_optional_float{value: C.float(r.Base), has_value: C.bool(r.Freqs.IsNull())}
}

// Mask says which keys a query may see.
type Mask struct {
	// Causal hides keys after the query; queries are the last of the keys' positions.
	Causal bool
	// Visible is bool, broadcast to [B, heads, L, S], or null. It excludes Causal.
	Visible Array

	// Where Visible is one of these, they say the same in short.
	Counts Array // int32 [B]: one query a row, which sees so many of the first positions
	Window int   // queries see so many positions up to their own; 0: it is not that
}

// Attention is fused scaled dot-product attention: q [B, heads, L, d], k and v
// [B, kv_heads, S, d] with heads a multiple of kv_heads. The softmax is in float32. sinks, [heads]
// or null, are scores that take weight beside those of the keys.
func (s *Scope) Attention(q, k, v Array, scale float32, mask Mask, sinks Array) Array {
	if s.err != nil {
		return Array{}
	}
	mode := maskNone
	switch {
	case !mask.Visible.IsNull():
		mode = maskArray
	case mask.Causal:
		mode = maskCausal
	}
	var out C.mlx_array
	rc := C.mlx_fast_scaled_dot_product_attention(&out, q.c(), k.c(), v.c(), C.float(scale), mode, mask.Visible.c(), sinks.c(), false, s.stream)
	return s.own("scaled_dot_product_attention", rc, out, q, k, v)
}

// QuantMode names a weight format of MLX.
type QuantMode string

// The formats of MLX 0.32.
const (
	Affine QuantMode = "affine"
	MXFP4  QuantMode = "mxfp4"
	MXFP8  QuantMode = "mxfp8"
	NVFP4  QuantMode = "nvfp4"
)

// Quantized is a quantised matrix [out, in]: Weight uint32[out, in*Bits/32], Scales and
// Biases [out, in/GroupSize]. Biases is null for all modes but Affine.
type Quantized struct {
	Weight, Scales, Biases Array
	GroupSize, Bits        int
	Mode                   QuantMode
}

func optionalInt(v int) C.mlx_optional_int {
	return C.mlx_optional_int{value: C.int(v), has_value: true}
}

// QuantizedMatMul returns x @ dequantize(w)ᵀ, in the dtype of x.
func (s *Scope) QuantizedMatMul(x Array, w Quantized) Array {
	if s.err != nil {
		return Array{}
	}
	if s.MultipliesQuantized(x, w) {
		return s.quantizedMatMul(x, w)
	}
	var out C.mlx_array
	rc := C.mlx_quantized_matmul(&out, x.c(), w.Weight.c(), w.Scales.c(), w.Biases.c(), true,
		optionalInt(w.GroupSize), optionalInt(w.Bits), modeNames[w.Mode], s.stream)
	return s.own("quantized_matmul", rc, out, x, w.Weight, w.Scales, w.Biases)
}

// Dequantize returns the dense matrix in the dtype of the scales (affine).
func (s *Scope) Dequantize(w Quantized) Array {
	if s.err != nil {
		return Array{}
	}
	var out, null C.mlx_array
	rc := C.mlx_dequantize(&out, w.Weight.c(), w.Scales.c(), w.Biases.c(),
		optionalInt(w.GroupSize), optionalInt(w.Bits), modeNames[w.Mode], null, C.mlx_optional_dtype{}, s.stream)
	return s.own("dequantize", rc, out, w.Weight, w.Scales, w.Biases)
}

// Quantize quantises w [out, in] over groups of its last axis.
func (s *Scope) Quantize(w Array, groupSize, bits int, mode QuantMode) Quantized {
	q := Quantized{GroupSize: groupSize, Bits: bits, Mode: mode}
	if s.err != nil {
		return q
	}
	var weight, scales, biases C.mlx_array
	rc := C.bridge_quantize(&weight, &scales, &biases, w.c(), C.int(groupSize), C.int(bits), modeNames[mode], s.stream)
	q.Weight = s.own("quantize", rc, weight, w)
	q.Scales = s.own("quantize", rc, scales, w)
	if biases.ctx != nil {
		q.Biases = s.own("quantize", rc, biases, w)
	}
	return q
}
