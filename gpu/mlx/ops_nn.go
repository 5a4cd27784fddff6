package mlx

// #include "bridge.h"
import "C"

// Tanh returns the hyperbolic tangent of a elementwise.
func (s *Scope) Tanh(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("tanh", C.mlx_tanh(&out, a.c(), s.stream), out, a)
}

// Erf returns the error function of a elementwise.
func (s *Scope) Erf(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("erf", C.mlx_erf(&out, a.c(), s.stream), out, a)
}

// Sqrt returns the square root of a elementwise.
func (s *Scope) Sqrt(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("sqrt", C.mlx_sqrt(&out, a.c(), s.stream), out, a)
}

// Square returns a * a elementwise.
func (s *Scope) Square(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("square", C.mlx_square(&out, a.c(), s.stream), out, a)
}

// Log returns the natural logarithm of a elementwise.
func (s *Scope) Log(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("log", C.mlx_log(&out, a.c(), s.stream), out, a)
}

// Floor returns the greatest integers not above a.
func (s *Scope) Floor(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("floor", C.mlx_floor(&out, a.c(), s.stream), out, a)
}

// Abs returns the absolute value of a elementwise.
func (s *Scope) Abs(a Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("abs", C.mlx_abs(&out, a.c(), s.stream), out, a)
}

// Maximum returns the greater of a and b elementwise with broadcasting.
func (s *Scope) Maximum(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("maximum", C.mlx_maximum(&out, a.c(), b.c(), s.stream), out, a, b)
}

// Minimum returns the lesser of a and b elementwise with broadcasting.
func (s *Scope) Minimum(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("minimum", C.mlx_minimum(&out, a.c(), b.c(), s.stream), out, a, b)
}

// LogAddExp returns log(exp(a) + exp(b)) elementwise with broadcasting.
func (s *Scope) LogAddExp(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("logaddexp", C.mlx_logaddexp(&out, a.c(), b.c(), s.stream), out, a, b)
}

// FloorDivide returns the floor of a / b elementwise with broadcasting.
func (s *Scope) FloorDivide(a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("floor_divide", C.mlx_floor_divide(&out, a.c(), b.c(), s.stream), out, a, b)
}

// PreciseSoftmax is Softmax computed in float32 whatever the dtype of a.
func (s *Scope) PreciseSoftmax(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("softmax", C.mlx_softmax_axis(&out, a.c(), C.int(axis), true, s.stream), out, a)
}

// Mean returns the mean along an axis.
func (s *Scope) Mean(a Array, axis int, keepDims bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("mean", C.mlx_mean_axis(&out, a.c(), C.int(axis), C.bool(keepDims), s.stream), out, a)
}

// ExpandDims inserts an axis of size one.
func (s *Scope) ExpandDims(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("expand_dims", C.mlx_expand_dims(&out, a.c(), C.int(axis), s.stream), out, a)
}

// Squeeze removes an axis of size one.
func (s *Scope) Squeeze(a Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("squeeze", C.mlx_squeeze_axis(&out, a.c(), C.int(axis), s.stream), out, a)
}

// Repeat repeats each element along an axis.
func (s *Scope) Repeat(a Array, times, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("repeat", C.mlx_repeat_axis(&out, a.c(), C.int(times), C.int(axis), s.stream), out, a)
}

// BroadcastTo repeats a over axes of size one.
func (s *Scope) BroadcastTo(a Array, shape ...int) Array {
	if s.err != nil {
		return Array{}
	}
	dims := ints(shape)
	var out C.mlx_array
	return s.own("broadcast_to", C.mlx_broadcast_to(&out, a.c(), &dims[0], C.size_t(len(shape)), s.stream), out, a)
}

// LayerNorm returns (x - mean) / sqrt(variance + eps) * weight + bias over the last axis,
// accumulated in float32. weight and bias may be null.
func (s *Scope) LayerNorm(x, weight, bias Array, eps float32) Array {
	if s.err != nil {
		return Array{}
	}
	var out C.mlx_array
	return s.own("layer_norm", C.mlx_fast_layer_norm(&out, x.c(), weight.c(), bias.c(), C.float(eps), s.stream), out, x, weight, bias)
}

// GatherMM multiplies matrices of x by matrices of w that indices, uint32 or int32, name:
// x [..., m, k], w [n, k, out], indices [...] with x's leading axes broadcast to it. sorted says
// that indices ascend.
func (s *Scope) GatherMM(x, w, indices Array, sorted bool) Array {
	if s.err != nil {
		return Array{}
	}
	var out, null C.mlx_array
	rc := C.mlx_gather_mm(&out, x.c(), w.c(), null, indices.c(), C.bool(sorted), s.stream)
	return s.own("gather_mm", rc, out, x, w, indices)
}

// GatherQMM is GatherMM by a quantised w, [n, out, k], transposed.
func (s *Scope) GatherQMM(x Array, w Quantized, indices Array, sorted bool) Array {
	if s.err != nil {
		return Array{}
	}
	if s.multiplies(x, w) && x.Dim(-2) == 1 {
		return s.gatherQMM(x, w, indices)
	}
	var out, null C.mlx_array
	rc := C.mlx_gather_qmm(&out, x.c(), w.Weight.c(), w.Scales.c(), w.Biases.c(), null, indices.c(), true,
		optionalInt(w.GroupSize), optionalInt(w.Bits), modeNames[w.Mode], C.bool(sorted), s.stream)
	return s.own("gather_qmm", rc, out, x, w.Weight, w.Scales, w.Biases, indices)
}
