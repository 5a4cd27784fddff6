package nn

import (
	"cmp"
	"encoding/json"
	"math"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// RoPEConfig is what config.json says of rotary embeddings: rope_theta and rope_scaling, or
// both in rope_parameters.
type RoPEConfig struct {
	Theta       float64        `json:"rope_theta"`
	Traditional bool           `json:"rope_traditional"`
	Scaling     *RoPEScaling   `json:"rope_scaling"`
	Parameters  *ropeParameter `json:"rope_parameters"`
}

type ropeParameter struct {
	Theta float64 `json:"rope_theta"`
	RoPEScaling
}

// RoPEScaling stretches rotary embeddings beyond the length they were trained on.
type RoPEScaling struct {
	Type              string      `json:"type"` // read before rope_type
	RoPEType          string      `json:"rope_type"`
	Factor            float64     `json:"factor"`
	OriginalMaxLength json.Number `json:"original_max_position_embeddings"`

	LowFreqFactor  float64 `json:"low_freq_factor"` // llama3
	HighFreqFactor float64 `json:"high_freq_factor"`

	BetaFast     *float64 `json:"beta_fast"` // yarn
	BetaSlow     *float64 `json:"beta_slow"`
	MScale       *float64 `json:"mscale"`
	MScaleAllDim float64  `json:"mscale_all_dim"`

	LongFactor NumberOrList[float64] `json:"long_factor"` // longrope: of each pair of dimensions, or of all
	LongMScale float64               `json:"long_mscale"` // 0: by the lengths

	PartialRotaryFactor *float64 `json:"partial_rotary_factor"` // proportional

	Alpha float64 `json:"alpha"` // dynamic, as in Hunyuan: the base is stretched at any length; 0: it is not
}

// Kind is the type of scaling, "default" if none is named.
func (c *RoPEScaling) Kind() string {
	switch {
	case c == nil:
		return "default"
	case c.Type != "":
		return c.Type
	case c.RoPEType != "":
		return c.RoPEType
	}
	return "default"
}

// NumberOrList is a list, or what config.json writes as one number. null is nil.
type NumberOrList[T int | float64] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *NumberOrList[T]) UnmarshalJSON(data []byte) error {
	var one *T
	if json.Unmarshal(data, &one) == nil && one != nil {
		*l = NumberOrList[T]{*one}
		return nil
	}
	return json.Unmarshal(data, (*[]T)(l))
}

// RoPEOptions describe a rotary embedding.
type RoPEOptions struct {
	Dims        int     // leading dimensions of each head that are rotated
	Theta       float64 // 0: 10000
	Traditional bool
	Scaling     *RoPEScaling // nil: none
	MaxLength   int          // max_position_embeddings, for longrope and dynamic scaling
}

// RoPE rotates queries and keys by their position.
type RoPE struct {
	fixed mlx.RoPE
	freqs *mlx.Ref // nil unless scaled by frequency

	inputScale float64  // what is rotated is multiplied by it first; 1: nothing
	dynamic    *dynamic // nil unless the base depends on the length
}

// dynamic is NTK scaling: the base grows with the sequence once it is longer than the model was
// trained on.
type dynamic struct {
	theta, factor float64
	trained       int
}

// base is for a sequence of so many tokens.
func (d *dynamic) base(length, dims int) float32 {
	trained := float64(d.trained)
	stretch := d.factor*max(float64(length), trained)/trained - (d.factor - 1)
	return float32(d.theta * math.Pow(stretch, float64(dims)/float64(dims-2)))
}

// rotate rotates x, [B, heads, L, head_dim], whose first position is offset in every row.
func (r *RoPE) rotate(s *mlx.Scope, x mlx.Array, offset int) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	p := r.parameters()
	if r.dynamic != nil {
		p.Base = r.dynamic.base(offset+x.Dim(2), p.Dims)
	}
	return s.RoPE(r.scaled(s, x), p, offset)
}

// rotateRows rotates rows of one token each, [B, heads, 1, head_dim].
func (r *RoPE) rotateRows(c *Context, x mlx.Array) mlx.Array {
	each, all := c.Pass.Positions()
	switch {
	case each.IsNull():
		return r.rotate(c.Scope, x, all)
	case r.dynamic != nil: // a base for each row
		var rows []mlx.Array
		for i, position := range c.Pass.RowPositions() {
			rows = append(rows, r.rotate(c.Scope, c.SliceAxis(x, 0, i, i+1), position))
		}
		return c.Concatenate(0, rows...)
	}
	return c.RoPEAt(r.scaled(c.Scope, x), r.parameters(), each)
}

func (r *RoPE) parameters() mlx.RoPE {
	fixed := r.fixed
	if r.freqs != nil {
		fixed.Freqs = r.freqs.Array()
	}
	return fixed
}

// scaled multiplies the dimensions that are rotated.
func (r *RoPE) scaled(s *mlx.Scope, x mlx.Array) mlx.Array {
	if s.Err() != nil || r.inputScale == 1 {
		return x
	}
	factor := s.Scalar(r.inputScale, x.DType())
	if dims := r.fixed.Dims; dims < x.Dim(-1) {
		return s.Concatenate(-1, s.Multiply(s.SliceAxis(x, -1, 0, dims), factor), s.SliceAxis(x, -1, dims, x.Dim(-1)))
	}
	return s.Multiply(x, factor)
}

// defaultTheta is the base of the original rotary embedding.
const defaultTheta = 10000

// RoPE builds the rotary embedding that the configuration describes, over dims dimensions.
func (b *Builder) RoPE(dims int) *RoPE { return b.RoPEOr(dims, defaultTheta) }

// RoPEOr is RoPE where theta is what it means that the configuration does not say the base.
func (b *Builder) RoPEOr(dims int, theta float64) *RoPE {
	options := b.RoPEOptions(dims)
	options.Theta = cmp.Or(options.Theta, theta)
	return b.RoPEOf(options)
}

// RoPEOptions reads what the configuration says of rotary embeddings. Theta is 0 if it does not
// say it.
func (b *Builder) RoPEOptions(dims int) RoPEOptions {
	var c RoPEConfig
	if err := b.Config.Decode(&c); err != nil {
		b.Fail(err)
	}
	theta, scaling := c.Theta, c.Scaling
	if c.Parameters != nil {
		scaling = &c.Parameters.RoPEScaling
		if c.Parameters.Theta != 0 {
			theta = c.Parameters.Theta
		}
	}
	return RoPEOptions{Dims: dims, Theta: theta, Traditional: c.Traditional, Scaling: scaling, MaxLength: b.Config.MaxLength}
}

// RoPEOf builds a rotary embedding. Frequency factors that a GGUF file stores go before Scaling.
func (b *Builder) RoPEOf(o RoPEOptions) *RoPE {
	o.Theta = cmp.Or(o.Theta, defaultTheta)
	r := &RoPE{fixed: mlx.RoPE{Dims: o.Dims, Traditional: o.Traditional, Base: float32(o.Theta), Scale: 1}, inputScale: 1}
	if b.Has(load.RopeFactors + ".weight") {
		r.freqs = b.factoredFreqs(o.Theta, o.Dims)
		return r
	}
	switch kind := o.Scaling.Kind(); kind {
	case "default", "mrope":
	case "linear":
		if b.positiveFactor(kind, o.Scaling) {
			r.fixed.Scale = float32(1 / o.Scaling.Factor)
		}
	case "dynamic":
		if o.Scaling.Alpha > 0 {
			stretched := o.Theta * math.Pow(o.Scaling.Alpha, float64(o.Dims)/float64(o.Dims-2))
			r.freqs = b.Derive(func(s *mlx.Scope) mlx.Array { return baseFreqs(s, stretched, o.Dims) })
		} else if b.positiveFactor(kind, o.Scaling) && o.MaxLength > 0 {
			r.dynamic = &dynamic{theta: o.Theta, factor: o.Scaling.Factor, trained: o.MaxLength}
		}
	case "llama3":
		r.freqs = b.llama3Freqs(o.Theta, o.Dims, *o.Scaling)
	case "yarn", "deepseek_yarn":
		if b.positiveFactor(kind, o.Scaling) {
			r.freqs, r.inputScale = b.yarnFreqs(o.Theta, o.Dims, *o.Scaling)
		}
	case "longrope", "su":
		r.freqs, r.inputScale = b.longFreqs(o)
	case "proportional":
		r.freqs = b.proportionalFreqs(o)
	default:
		b.Fail(fault.New(fault.ModelLoad, "config.json: rope type %q is not supported; accepted: default, linear, dynamic, llama3, yarn, longrope, proportional, mrope", kind))
	}
	return r
}

func (b *Builder) positiveFactor(kind string, c *RoPEScaling) bool {
	if c.Factor <= 0 {
		b.fail("config.json: %s rope scaling with factor %g", kind, c.Factor)
	}
	return c.Factor > 0
}

// baseFreqs returns θ^(2i/d) for i in [0, d/2), in MLX's float32.
func baseFreqs(s *mlx.Scope, theta float64, dims int) mlx.Array {
	exponents := s.Divide(s.Arange(0, float64(dims), 2, mlx.Float32), s.Scalar(float64(dims), mlx.Float32))
	return s.Power(s.Scalar(theta, mlx.Float32), exponents)
}

// factoredFreqs multiplies the wavelengths by the factors that a GGUF file stores.
func (b *Builder) factoredFreqs(theta float64, dims int) *mlx.Ref {
	factors := b.Vector(load.RopeFactors+".weight", dims/2)
	if factors == nil {
		return nil
	}
	return b.Derive(func(s *mlx.Scope) mlx.Array { return s.Multiply(baseFreqs(s, theta, dims), factors.Array()) })
}

// llama3Freqs is Llama 3.1's scaling: long wavelengths are stretched by the factor, short ones
// kept, and those between blended.
func (b *Builder) llama3Freqs(theta float64, dims int, c RoPEScaling) *mlx.Ref {
	original, err := c.OriginalMaxLength.Float64()
	if err != nil {
		original = 8192 // mlx-lm's default
	}
	low, high := c.LowFreqFactor, c.HighFreqFactor
	if low == 0 {
		low = 1
	}
	if high == 0 {
		high = 4
	}
	if c.Factor <= 0 || high <= low {
		b.fail("config.json: llama3 rope scaling with factor %g, low_freq_factor %g, high_freq_factor %g", c.Factor, low, high)
		return nil
	}
	return b.Derive(func(s *mlx.Scope) mlx.Array {
		number := func(v float64) mlx.Array { return s.Scalar(v, mlx.Float32) }
		freqs := baseFreqs(s, theta, dims)
		wavelengths := s.Multiply(number(2*math.Pi), freqs)
		lowWavelength, highWavelength := number(original/low), number(original/high)
		stretched := s.Where(s.Less(lowWavelength, wavelengths), s.Multiply(freqs, number(c.Factor)), freqs)
		medium := s.LogicalAnd(s.Less(highWavelength, wavelengths), s.Less(wavelengths, lowWavelength))
		smooth := s.Divide(s.Subtract(s.Divide(number(original), wavelengths), number(low)), number(high-low))
		blended := s.Divide(stretched, s.Add(s.Divide(s.Subtract(number(1), smooth), number(c.Factor)), smooth))
		return s.Where(medium, blended, stretched)
	})
}

// yarnFreqs is YaRN (Peng et al., 2023): long wavelengths are stretched by the factor, short ones
// kept, with a ramp between. scale is its attention temperature.
func (b *Builder) yarnFreqs(theta float64, dims int, c RoPEScaling) (freqs *mlx.Ref, scale float64) {
	original, err := c.OriginalMaxLength.Float64()
	if err != nil {
		original = 4096 // mlx-lm's default
	}
	valueOr := func(v *float64, def float64) float64 {
		if v == nil {
			return def
		}
		return *v
	}
	// The dimension whose wavelength turns so often over the original length.
	correction := func(turns float64) float64 {
		return float64(dims) * math.Log(original/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low := max(math.Floor(correction(valueOr(c.BetaFast, 32))), 0)
	high := min(math.Ceil(correction(valueOr(c.BetaSlow, 1))), float64(dims-1))
	if low == high {
		high += 0.001
	}
	temperature := func(m float64) float64 {
		if c.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(c.Factor) + 1
	}
	scale = temperature(valueOr(c.MScale, 1)) / temperature(c.MScaleAllDim)
	freqs = b.Derive(func(s *mlx.Scope) mlx.Array {
		number := func(v float64) mlx.Array { return s.Scalar(v, mlx.Float32) }
		kept := baseFreqs(s, theta, dims)
		stretched := s.Multiply(number(c.Factor), kept)
		ramp := s.Divide(s.Subtract(s.Arange(0, float64(dims/2), 1, mlx.Float32), number(low)), number(high-low))
		mask := s.Subtract(number(1), s.Minimum(s.Maximum(ramp, number(0)), number(1)))
		blend := s.Add(s.Multiply(stretched, mask), s.Multiply(kept, s.Subtract(number(1), mask)))
		return s.Divide(s.Multiply(stretched, kept), blend)
	})
	return freqs, scale
}

// longFreqs is LongRoPE with its long factors, whatever the length, as in mlx-lm.
func (b *Builder) longFreqs(o RoPEOptions) (freqs *mlx.Ref, scale float64) {
	original, err := o.Scaling.OriginalMaxLength.Float64()
	if err != nil || original <= 1 {
		b.fail("config.json: longrope scaling with original_max_position_embeddings %q", o.Scaling.OriginalMaxLength)
		return nil, 1
	}
	long := o.Scaling.LongFactor
	if len(long) != 1 && len(long) != o.Dims/2 {
		b.fail("config.json: longrope scaling has %d long factors, and must have %d", len(long), o.Dims/2)
		return nil, 1
	}
	scale = 1
	if factor := float64(o.MaxLength) / original; factor > 1 {
		scale = math.Sqrt(1 + math.Log(factor)/math.Log(original))
	}
	if o.Scaling.LongMScale != 0 {
		scale = o.Scaling.LongMScale
	}
	values := make([]float32, len(long))
	for i, f := range long {
		values[i] = float32(f)
	}
	return b.Derive(func(s *mlx.Scope) mlx.Array {
		return s.Multiply(s.Float32s(values, len(values)), baseFreqs(s, o.Theta, o.Dims))
	}), scale
}

// proportionalFreqs rotates a part of the dimensions with the wavelengths of all of them, and
// does not turn the others: their wavelength is infinite.
func (b *Builder) proportionalFreqs(o RoPEOptions) *mlx.Ref {
	part, factor := 1.0, o.Scaling.Factor
	if o.Scaling.PartialRotaryFactor != nil {
		part = *o.Scaling.PartialRotaryFactor
	}
	if factor == 0 {
		factor = 1
	}
	rotated := int(float64(o.Dims)*part) / 2
	if part <= 0 || part > 1 || rotated == 0 {
		b.fail("config.json: proportional rope scaling of a part of %g", part)
		return nil
	}
	return b.Derive(func(s *mlx.Scope) mlx.Array {
		freqs := s.Multiply(s.Scalar(factor, mlx.Float32), s.SliceAxis(baseFreqs(s, o.Theta, o.Dims), 0, 0, rotated))
		if rotated == o.Dims/2 {
			return freqs
		}
		still := s.BroadcastTo(s.Reshape(s.Scalar(math.Inf(1), mlx.Float32), 1), o.Dims/2-rotated)
		return s.Concatenate(0, freqs, still)
	})
}
