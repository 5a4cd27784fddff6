package models

import (
	"strings"

	"mlx-worker/gpu/nn"
)

// newMiMo is MiMo: Qwen 2 with layers that predict further tokens, which are not used here.
func newMiMo(b *nn.Builder) (Model, error) {
	c := llamaConfig{TieEmbeddings: new(false)}
	if err := c.read(b); err != nil {
		return nil, err
	}
	b.Ignore(func(name string) bool { return strings.HasPrefix(name, "model.mtp_layers.") })
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block { return c.qwen2Layer(b, path, rope) }), b.Err()
}
