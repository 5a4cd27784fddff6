package models

import (
	"fmt"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newExaone is EXAONE 3 and 3.5: llama under GPT-2's names.
func newExaone(b *nn.Builder) (Model, error) {
	var c llamaConfig
	var own struct {
		Layers int     `json:"num_layers"`
		Eps    float32 `json:"layer_norm_epsilon"`
	}
	if err := b.Config.Decode(&own); err != nil {
		return nil, err
	}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if own.Layers <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: num_layers is %d, and must be positive", own.Layers)
	}
	c.Layers, c.RMSNormEps = own.Layers, own.Eps
	if err := c.dimensions.complete(); err != nil {
		return nil, err
	}
	if err := positive("layer_norm_epsilon", c.RMSNormEps); err != nil {
		return nil, err
	}
	b.Ignore(isRotaryBuffer)
	m := &decoder{embedding: b.Embedding("transformer.wte", c.VocabSize, c.HiddenSize)}
	rope := b.RoPE(c.HeadDim)
	for i := range c.Layers {
		path := fmt.Sprintf("transformer.h.%d", i)
		m.blocks = append(m.blocks, &preNorm{
			attentionNorm: b.RMSNorm(path+".ln_1", c.HiddenSize, c.RMSNormEps),
			attention:     b.AttentionOf(path+".attn.attention", []string{"q_proj", "k_proj", "v_proj"}, "out_proj", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope),
			mlpNorm:       b.RMSNorm(path+".ln_2", c.HiddenSize, c.RMSNormEps),
			mlp:           b.SwiGLUOf(path+".mlp", []string{"c_fc_0", "c_fc_1"}, "c_proj", c.HiddenSize, c.IntermediateSize),
		})
	}
	m.norm = b.RMSNorm("transformer.ln_f", c.HiddenSize, c.RMSNormEps)
	m.output(b, c.tied(), "lm_head", c.HiddenSize, c.VocabSize)
	return m, b.Err()
}
