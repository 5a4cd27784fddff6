package nn

import (
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
	LowFreqFactor     float64     `json:"low_freq_factor"`
	HighFreqFactor    float64     `json:"high_freq_factor"`
	OriginalMaxLength json.Number `json:"original_max_position_embeddings"`
}

// RoPE rotates queries and keys by their position.
type RoPE struct {
	fixed mlx.RoPE
	freqs *mlx.Ref // nil unless scaled by frequency
}

// Forward rotates x, [B, heads, L, head_dim], whose first position is offset in every row.
func (r *RoPE) Forward(s *mlx.Scope, x mlx.Array, offset int) mlx.Array {
	return s.RoPE(x, r.parameters(), offset)
}

// ForwardAt is Forward with a first position for each row, int32 [B].
func (r *RoPE) ForwardAt(s *mlx.Scope, x, offsets mlx.Array) mlx.Array {
	return s.RoPEAt(x, r.parameters(), offsets)
}

func (r *RoPE) parameters() mlx.RoPE {
	fixed := r.fixed
	if r.freqs != nil {
		fixed.Freqs = r.freqs.Array()
	}
	return fixed
}

// defaultTheta is the base of the original rotary embedding.
const defaultTheta = 10000

// RoPE builds the rotary embedding that the configuration describes, over dims dimensions.
func (b *Builder) RoPE(dims int) *RoPE {
	var c RoPEConfig
	if err := b.Config.Decode(&c); err != nil {
		b.Fail(err)
		return nil
	}
	theta, scaling := c.Theta, c.Scaling
	if c.Parameters != nil {
		scaling = &c.Parameters.RoPEScaling
		if c.Parameters.Theta != 0 {
			theta = c.Parameters.Theta
		}
	}
	if theta == 0 {
		theta = defaultTheta
	}
	r := &RoPE{fixed: mlx.RoPE{Dims: dims, Traditional: c.Traditional, Base: float32(theta), Scale: 1}}
	if b.Has(load.RopeFactors + ".weight") {
		r.freqs = b.factoredFreqs(theta, dims)
		return r
	}
	if scaling == nil {
		return r
	}
	kind := scaling.Type
	if kind == "" {
		kind = scaling.RoPEType
	}
	switch kind {
	case "", "default":
	case "linear":
		if scaling.Factor <= 0 {
			b.fail("config.json: linear rope scaling with factor %g", scaling.Factor)
			return nil
		}
		r.fixed.Scale = float32(1 / scaling.Factor)
	case "llama3":
		r.freqs = b.llama3Freqs(theta, dims, *scaling)
	default:
		b.Fail(fault.New(fault.ModelLoad, "config.json: rope type %q is not supported; accepted: default, linear, llama3", kind))
		return nil
	}
	return r
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
