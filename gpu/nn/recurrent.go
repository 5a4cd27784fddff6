package nn

import (
	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
)

// Recur runs a recurrent layer over a pass, one segment after the other. inputs are [1, T, ...]
// each; step gets their tokens of a segment, [rows, n, ...], extends the segment's state by them and
// returns [rows, n, ...]. Recur returns all of that, [1, T, ...].
func (c *Context) Recur(inputs []mlx.Array, step func(g cache.Segment, inputs []mlx.Array) mlx.Array) mlx.Array {
	var parts []mlx.Array
	for _, g := range c.Pass.Segments() {
		if c.Err() != nil {
			return mlx.Array{}
		}
		rows, n := 1, g.Tokens
		if g.Decode {
			rows, n = n, rows
		}
		part := make([]mlx.Array, len(inputs))
		for i, x := range inputs {
			rest := x.Shape()[2:]
			part[i] = c.Reshape(c.SliceAxis(x, 1, g.First, g.First+g.Tokens), append([]int{rows, n}, rest...)...)
		}
		y := step(g, part)
		if c.Err() != nil {
			return mlx.Array{}
		}
		parts = append(parts, c.Reshape(y, append([]int{1, g.Tokens}, y.Shape()[2:]...)...))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return c.Concatenate(1, parts...)
}

// StateOf returns the count arrays that a layer keeps of a segment's rows, null ones if there is
// nothing yet.
func StateOf(g cache.Segment, layer, count int) []mlx.Array {
	if state := g.State(layer); state != nil {
		return state
	}
	return make([]mlx.Array, count)
}

// CausalConv is a convolution over a sequence's tokens, of each channel by itself, that sees a
// token and those before it.
type CausalConv struct {
	weight *mlx.Ref // float32 [kernel, channels], for the oldest token first
	bias   *mlx.Ref // float32 [channels] or nil
	kernel int
}

// CausalConv builds the convolution at path, with a bias if the checkpoint has one. The weight is
// [channels, kernel, 1], or as transformers stores it [channels, 1, kernel].
func (b *Builder) CausalConv(path string, channels, kernel int) *CausalConv {
	shape := []int{channels, kernel, 1}
	if b.HasPublishedConv(path) {
		shape = []int{channels, 1, kernel}
	}
	array := b.take(path+".weight", shape...)
	if array == nil {
		return nil
	}
	b.parameters += int64(channels) * int64(kernel)
	float32Type := mlx.Float32
	stored := b.settle(&float32Type, *array)
	v := &CausalConv{kernel: kernel}
	if b.Has(path + ".bias") {
		v.bias = b.Vector(path+".bias", channels)
		b.parameters += int64(channels)
	}
	if b.Err() != nil {
		return nil
	}
	v.weight = b.upload.replace([]*mlx.Ref{stored}, func(s *mlx.Scope) mlx.Array {
		return s.Contiguous(s.Transpose(s.Reshape(stored.Array(), channels, kernel), 1, 0))
	})
	return v
}

// HasPublishedConv reports whether the convolution at path has the layout of transformers, which
// tells checkpoints as they were published from those that mlx-lm has converted.
func (b *Builder) HasPublishedConv(path string) bool {
	a, found := b.arrays[path+".weight"]
	return found && len(a.Shape) == 3 && a.Shape[2] != 1
}

// Forward convolves x, [rows, n, channels], that comes after before, [rows, kernel-1, channels] or
// null for zeros. It returns the same shape and what comes before the next tokens.
func (v *CausalConv) Forward(s *mlx.Scope, x, before mlx.Array) (y, next mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	rows, n, channels := x.Dim(0), x.Dim(1), x.Dim(2)
	if before.IsNull() {
		before = s.Zeros(x.DType(), rows, v.kernel-1, channels)
	}
	all := s.Concatenate(1, before, x)
	if n == 1 {
		y = s.Sum(s.Multiply(all, v.weight.Array()), 1, true)
	} else {
		y = v.slide(s, all, n)
	}
	if v.bias != nil {
		y = s.Add(y, v.bias.Array())
	}
	return s.AsType(y, x.DType()), s.SliceAxis(all, 1, n, n+v.kernel-1)
}

// slide adds up the taps. MLX's convolution of single channels is slower on the CPU.
func (v *CausalConv) slide(s *mlx.Scope, all mlx.Array, n int) (y mlx.Array) {
	for tap := range v.kernel {
		part := s.Multiply(s.SliceAxis(all, 1, tap, tap+n), s.SliceAxis(v.weight.Array(), 0, tap, tap+1))
		if tap > 0 {
			part = s.Add(y, part)
		}
		y = part
	}
	return y
}

// Softplus is log(1 + eˣ).
func Softplus(s *mlx.Scope, x mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.LogAddExp(x, s.Scalar(0, x.DType()))
}

// decaysBetween returns what is left at i of what came at j, the product of the decays after j up
// to i, for j ≤ i, and 0 for others: [..., n, n] of the decays' logarithms, [..., n]. The
// difference of two running sums would lose small decays beside large ones.
func decaysBetween(s *mlx.Scope, logs mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	n := logs.Dim(-1)
	places, zero := s.Arange(0, float64(n), 1, mlx.Int32), s.Scalar(0, logs.DType())
	after := s.Less(places, s.Reshape(places, n, 1))
	sums := s.CumSum(s.Where(after, s.ExpandDims(logs, -1), zero), -2, false)
	return s.Where(notLater(s, n), s.Exp(sums), zero)
}

// notLater is [n, n], whether the column is not after the row.
func notLater(s *mlx.Scope, n int) mlx.Array {
	places := s.Arange(0, float64(n), 1, mlx.Int32)
	return s.GreaterEqual(s.Reshape(places, n, 1), places)
}

// swapLast transposes the last two axes.
func swapLast(s *mlx.Scope, x mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	axes := make([]int, x.NDim())
	for i := range axes {
		axes[i] = i
	}
	last := len(axes) - 1
	axes[last], axes[last-1] = last-1, last
	return s.Transpose(x, axes...)
}

// padded appends zeros on axis 1 up to length.
func padded(s *mlx.Scope, x mlx.Array, length int) mlx.Array {
	if s.Err() != nil || x.Dim(1) == length {
		return x
	}
	shape := x.Shape()
	shape[1] = length - shape[1]
	return s.Concatenate(1, x, s.Zeros(x.DType(), shape...))
}
