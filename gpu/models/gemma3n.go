package models

import (
	"fmt"
	"math"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gemma3nConfig is the part of text_config that Gemma 3n reads.
type gemma3nConfig struct {
	gemma3Config
	Intermediates nn.NumberOrList[int] `json:"intermediate_size"`    // of each layer, or of all
	SharedLayers  int                  `json:"num_kv_shared_layers"` // the last ones, which see the caches of others
	LayerInput    int                  `json:"hidden_size_per_layer_input"`
	LayerVocab    int                  `json:"vocab_size_per_layer_input"`
	LogitCap      *float64             `json:"final_logit_softcapping"`
	Sparsity      []float64            `json:"activation_sparsity_pattern"` // part of each MLP that does not act; nil: none
	LaurelRank    int                  `json:"laurel_rank"`

	States       int      `json:"altup_num_inputs"`
	ActiveState  int      `json:"altup_active_idx"`
	CoefClip     *float64 `json:"altup_coef_clip"`
	CorrectScale bool     `json:"altup_correct_scale"`
}

func (c *gemma3nConfig) complete() error {
	if err := c.completePerLayer(); err != nil {
		return err
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"hidden_size_per_layer_input", c.LayerInput}, {"vocab_size_per_layer_input", c.LayerVocab}, {"laurel_rank", c.LaurelRank},
		{"altup_num_inputs", c.States - 1}, // one state alone would be another model
	} {
		if field.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is missing or too small", field.name)
		}
	}
	if c.ActiveState < 0 || c.ActiveState >= c.States {
		return fault.New(fault.ModelLoad, "config.json: altup_active_idx is %d of %d", c.ActiveState, c.States)
	}
	if err := positiveOrNull("final_logit_softcapping", c.LogitCap); err != nil {
		return err
	}
	if err := positiveOrNull("altup_coef_clip", c.CoefClip); err != nil {
		return err
	}
	if err := c.gemma3Config.complete(); err != nil {
		return err
	}
	return c.completeSharing(c.SharedLayers)
}

func (c *gemma3nConfig) completePerLayer() error {
	if n := len(c.Intermediates); n != 1 && n != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: intermediate_size has %d entries for %d layers", n, c.Layers)
	}
	for _, n := range c.Intermediates {
		if c.IntermediateSize = n; n <= 0 {
			return fault.New(fault.ModelLoad, "config.json: intermediate_size has %d, and must be positive", n)
		}
	}
	if n := len(c.Sparsity); c.Sparsity != nil && n != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: activation_sparsity_pattern has %d entries for %d layers", n, c.Layers)
	}
	for _, part := range c.Sparsity {
		if part < 0 || part >= 1 {
			return fault.New(fault.ModelLoad, "config.json: activation_sparsity_pattern has %g; accepted: from 0 to less than 1", part)
		}
	}
	return nil
}

// gemma3nStates are the ends of a decoder whose hidden state is several, [states, 1, T, hidden], of
// which one is active and the others follow it.
type gemma3nStates struct {
	expansions, collapses []nn.Linear // of the states but the first
}

// newGemma3n is the language model of Gemma 3n.
func newGemma3n(b *nn.Builder) (Model, error) {
	if err := useText(b); err != nil {
		return nil, err
	}
	c := gemma3nConfig{gemma3Config: gemma3Config{QueryScalar: 1, LocalTheta: 10000, WindowPattern: 5}}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	c.ignoreShared(b, c.SharedLayers)
	ropes := c.ropes(b)
	inputs := c.layerInputs(b, c.LayerInput, c.LayerVocab)
	m := c.dimensions.decoder(b, true, b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps), func(path string, layer int) block {
		return c.block(b, path, layer, ropes[c.LayerTypes[layer]], inputs)
	})
	ends := &gemma3nStates{}
	for i := range c.States - 1 {
		ends.expansions = append(ends.expansions, b.Linear(fmt.Sprintf("model.altup_projections.%d", i), c.HiddenSize, c.HiddenSize))
		ends.collapses = append(ends.collapses, b.Linear(fmt.Sprintf("model.altup_unembed_projections.%d", i), c.HiddenSize, c.HiddenSize))
	}
	m.embeddingScale = math.Sqrt(float64(c.HiddenSize))
	m.logitCap = valueOr(c.LogitCap, 0)
	m.caches = c.windows()[:c.Layers-c.SharedLayers]
	m.prepare, m.expand, m.collapse = inputs.prepare, ends.expand, ends.collapse
	return m, b.Err()
}

// expand makes x, [1, T, hidden], the first of the states.
func (m *gemma3nStates) expand(c *nn.Context, x mlx.Array) mlx.Array {
	states := []mlx.Array{c.ExpandDims(x, 0)}
	size := magnitude(c.Scope, x)
	for _, expansion := range m.expansions {
		states = append(states, c.ExpandDims(resized(c.Scope, expansion.Forward(c.Scope, x), size), 0))
	}
	return c.Concatenate(0, states...)
}

// collapse is the mean of the states, [1, T, hidden].
func (m *gemma3nStates) collapse(c *nn.Context, x mlx.Array) mlx.Array {
	first := state(c.Scope, x, 0)
	states := []mlx.Array{c.ExpandDims(first, 0)}
	size := magnitude(c.Scope, first)
	for i, collapse := range m.collapses {
		states = append(states, c.ExpandDims(resized(c.Scope, collapse.Forward(c.Scope, state(c.Scope, x, i+1)), size), 0))
	}
	return c.Mean(c.Concatenate(0, states...), 0, false)
}

// state is one of the states, [1, T, hidden].
func state(s *mlx.Scope, x mlx.Array, i int) mlx.Array {
	return s.Squeeze(s.SliceAxis(x, 0, i, i+1), 0)
}

// magnitude is the root of the mean square of each token's state, [1, T, 1].
func magnitude(s *mlx.Scope, x mlx.Array) mlx.Array {
	return s.Sqrt(s.Mean(s.Square(x), -1, true))
}

// resized gives x a magnitude.
func resized(s *mlx.Scope, x, size mlx.Array) mlx.Array {
	return s.Multiply(x, s.Divide(size, magnitude(s, x)))
}
