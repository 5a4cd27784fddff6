package models

import "mlx-worker/gpu/nn"

// glm4MoEConfig is GLM 4.5's: llama's attention, and DeepSeek V3's experts.
type glm4MoEConfig struct {
	llamaConfig
	routedConfig
	RotatedPart float64 `json:"partial_rotary_factor"`
	NormalizeQK bool    `json:"use_qk_norm"`
}

func newGLM4MoE(b *nn.Builder) (Model, error) {
	c := glm4MoEConfig{routedConfig: correctedDefaults(), RotatedPart: 0.5}
	c.TieEmbeddings = new(false)
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.checkCorrected(); err != nil {
		return nil, err
	}
	return c.build(b, expertsBelow)
}

// newDots1 is dots.llm1: GLM 4.5 whose heads are rotated and normalised as a whole.
func newDots1(b *nn.Builder) (Model, error) {
	c := glm4MoEConfig{routedConfig: correctedDefaults()}
	c.TieEmbeddings = new(false)
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	c.RotatedPart, c.NormalizeQK = 1, true
	return c.build(b, func(path string) nn.ExpertNames {
		names := expertsBelow(path)
		names.Stacked = names.Single
		return names
	})
}

// build makes the model. names are those of the experts of the layer at a path.
func (c *glm4MoEConfig) build(b *nn.Builder, names func(path string) nn.ExpertNames) (Model, error) {
	if err := c.llamaConfig.complete(); err != nil {
		return nil, err
	}
	if err := c.routedConfig.complete(); err != nil {
		return nil, err
	}
	options, err := partialRoPE(b, c.HeadDim, c.RotatedPart)
	if err != nil {
		return nil, err
	}
	b.Ignore(isLaterLayer(c.Layers))
	rope := b.RoPEOf(options)
	return c.decoder(b, func(path string, i int) block {
		l := c.layerWith(b, path, rope, c.mlp(b, path+".mlp", i, names))
		if c.NormalizeQK {
			l.attention.Prepare = c.normalizeHeads(b, path)
		}
		return l
	}), b.Err()
}

func (c *glm4MoEConfig) mlp(b *nn.Builder, path string, layer int, names func(path string) nn.ExpertNames) feedForward {
	if c.Experts == nil || layer < c.FirstSparseLayer {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	return c.experts(b, path, names(path), c.HiddenSize, c.corrected(b, path+".gate", c.HiddenSize))
}
