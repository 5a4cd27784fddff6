package mlx

// Kernels reports whether SiLU, GatedSiLU, CausalSoftmax and AttendOne can be used for float32: on
// the CPU of x86-64 processors with AVX2, where MLX's own code is scalar. RMSNorm, RoPE, Add and
// QuantizedMatMul are such operations too there.
func (s *Scope) Kernels() bool { return s.kernels }

// Kernels is Scope.Kernels of the stream's scopes.
func (s Stream) Kernels() bool { return s.kernels }

// MultipliesQuantized reports whether QuantizedMatMul of x and w, a matrix, is one of the operations
// of Kernels: of x in float32, with affine groups of 32 or more. Scales may be of any float type, of
// which weights are computed in float32.
func (s *Scope) MultipliesQuantized(x Array, w Quantized) bool {
	return s.multiplies(x, w) && w.Weight.NDim() == 2
}

// KernelsTake reports whether the products of Kernels are by matrices of such a format.
func KernelsTake(mode QuantMode, groupSize int) bool { return mode == Affine && groupSize%32 == 0 }

func (s *Scope) multiplies(x Array, w Quantized) bool {
	return s.kernels && s.err == nil && KernelsTake(w.Mode, w.GroupSize) && x.Size() > 0 &&
		x.DType() == Float32 && w.Scales.DType().IsFloat() && w.Biases.DType() == w.Scales.DType()
}

// SiLU returns x * sigmoid(x) elementwise. It needs Kernels.
func (s *Scope) SiLU(x Array) Array {
	if s.err != nil {
		return Array{}
	}
	return s.silu(x)
}

// GatedSiLU returns silu(gate) * up for gate | up on the last axis, [..., 2n]; [..., n]. It needs
// Kernels.
func (s *Scope) GatedSiLU(gateUp Array) Array {
	if s.err != nil {
		return Array{}
	}
	return s.gatedSiLU(gateUp)
}

// CausalSoftmax returns softmax(scale * scores) over the last axis of scores [..., L, S], of which
// row i sees the first S - L + i + 1 columns, and of those the last window (0: all). It needs Kernels.
func (s *Scope) CausalSoftmax(scores Array, scale float32, window int) Array {
	if s.err != nil {
		return Array{}
	}
	return s.causalSoftmax(scores, scale, window)
}

// AttendOne is attention of one query a row: q [B, heads, 1, d], k and v [B, kv_heads, S, d], d a
// multiple of 8. Row i sees the first counts[i] positions (int32 [B]; null: all). It needs Kernels.
func (s *Scope) AttendOne(q, k, v, counts Array, scale float32) Array {
	if s.err != nil {
		return Array{}
	}
	return s.attendOne(q, k, v, counts, scale)
}
