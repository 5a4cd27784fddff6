package models

import (
	"cmp"
	"encoding/json"
	"strconv"

	"mlx-worker/gpu/nn"
)

// phi3Config is the part of config.json that Phi 3 and 4 add to llama's.
type phi3Config struct {
	llamaConfig
	RotatedPart    float64 `json:"partial_rotary_factor"`
	OriginalLength int     `json:"original_max_position_embeddings"`
}

// newPhi3 is Phi 3, 3.5 and 4: llama whose projections are fused, and whose heads may be rotated
// in part.
func newPhi3(b *nn.Builder) (Model, error) {
	c := phi3Config{llamaConfig: llamaConfig{TieEmbeddings: new(false)}, RotatedPart: 1, OriginalLength: 4096}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope, err := c.rope(b)
	if err != nil {
		return nil, err
	}
	return c.decoder(b, func(path string, _ int) block {
		return &preNorm{
			attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			attention:     b.AttentionOf(path+".self_attn", []string{"qkv_proj"}, "o_proj", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope),
			mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:           b.SwiGLUOf(path+".mlp", []string{"gate_up_proj"}, "down_proj", c.HiddenSize, c.IntermediateSize),
		}
	}), b.Err()
}

// rope builds the rotary embedding. The length that it was trained on is beside rope_scaling.
func (c *phi3Config) rope(b *nn.Builder) (*nn.RoPE, error) {
	options, err := partialRoPE(b, c.HeadDim, c.RotatedPart)
	if err != nil {
		return nil, err
	}
	options.MaxLength = cmp.Or(options.MaxLength, 131072)
	if options.Scaling != nil {
		scaling := *options.Scaling
		scaling.OriginalMaxLength = json.Number(strconv.Itoa(c.OriginalLength))
		options.Scaling = &scaling
	}
	return b.RoPEOf(options), nil
}
