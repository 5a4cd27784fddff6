package models

import (
	"cmp"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newNemotron is Nemotron 3 and Minitron: LayerNorm with stored weights minus 1, heads that are
// rotated in part, and an MLP of squared ReLUs without a gate.
func newNemotron(b *nn.Builder) (Model, error) {
	var c struct {
		dimensions
		NormEps     float32 `json:"norm_eps"`
		RotatedPart float64 `json:"partial_rotary_factor"`
		Activation  string  `json:"hidden_act"`
		Tied        bool    `json:"tie_word_embeddings"`
	}
	c.RotatedPart, c.Activation = 0.5, "relu2"
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := cmp.Or(c.complete(), positive("norm_eps", c.NormEps)); err != nil {
		return nil, err
	}
	if c.Activation != "relu2" {
		return nil, fault.New(fault.ModelLoad, "config.json: hidden_act is %q; accepted: relu2", c.Activation)
	}
	options, err := partialRoPE(b, c.HeadDim, c.RotatedPart)
	if err != nil {
		return nil, err
	}
	rope := b.RoPEOf(options)
	norm := func(path string) nn.Norm { return b.OffsetLayerNorm(path, c.HiddenSize, c.NormEps) }
	return c.decoder(b, c.Tied, norm("model.norm"), func(path string, _ int) block {
		return &preNorm{
			attentionNorm: norm(path + ".input_layernorm"),
			attention:     c.attention(b, path, rope),
			mlpNorm:       norm(path + ".post_attention_layernorm"),
			mlp:           b.MLP(path+".mlp", "up_proj", "down_proj", c.HiddenSize, c.IntermediateSize, nn.SquaredReLU),
		}
	}), b.Err()
}
