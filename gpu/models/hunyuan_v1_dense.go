package models

import "mlx-worker/gpu/nn"

// newHunyuanV1Dense is the dense Hunyuan: llama whose query and key heads are normalised after
// they got their positions.
func newHunyuanV1Dense(b *nn.Builder) (Model, error) {
	c := struct {
		llamaConfig
		NormalizeHeads bool `json:"use_qk_norm"`
	}{llamaConfig{TieEmbeddings: new(false)}, true}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block {
		l := c.layer(b, path, rope)
		if c.NormalizeHeads {
			l.attention.Finish = nn.NormalizeRotated(
				b.RMSNorm(path+".self_attn.query_layernorm", c.HeadDim, c.RMSNormEps),
				b.RMSNorm(path+".self_attn.key_layernorm", c.HeadDim, c.RMSNormEps),
			)
		}
		return l
	}), b.Err()
}
