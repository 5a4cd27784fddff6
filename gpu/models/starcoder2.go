package models

import (
	"cmp"

	"mlx-worker/gpu/nn"
)

// newStarCoder2 is StarCoder 2: LayerNorm, biases and an MLP without a gate. Its sliding window
// is not used, as in mlx-lm.
func newStarCoder2(b *nn.Builder) (Model, error) {
	var c struct {
		dimensions
		NormEps       float32 `json:"norm_epsilon"`
		TieEmbeddings *bool   `json:"tie_word_embeddings"` // nil: true
	}
	c.NormEps, c.VocabSize = 1e-5, 49152
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := cmp.Or(c.complete(), positive("norm_epsilon", c.NormEps)); err != nil {
		return nil, err
	}
	rope := b.RoPEOr(c.HeadDim, 1e5)
	norm := func(path string) nn.Norm { return b.LayerNorm(path, c.HiddenSize, c.NormEps) }
	tied := c.TieEmbeddings == nil || *c.TieEmbeddings
	return c.decoder(b, tied, norm("model.norm"), func(path string, _ int) block {
		return &preNorm{
			attentionNorm: norm(path + ".input_layernorm"),
			attention:     c.attention(b, path, rope),
			mlpNorm:       norm(path + ".post_attention_layernorm"),
			mlp:           b.MLP(path+".mlp", "c_fc", "c_proj", c.HiddenSize, c.IntermediateSize, nn.GELU),
		}
	}), b.Err()
}
