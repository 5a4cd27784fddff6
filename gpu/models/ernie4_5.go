package models

import "mlx-worker/gpu/nn"

// newNeighbourRoPE is llama whose positions rotate neighbouring dimensions: ERNIE 4.5, Helium.
func newNeighbourRoPE(b *nn.Builder) (Model, error) {
	var c llamaConfig
	if err := c.read(b); err != nil {
		return nil, err
	}
	options := b.RoPEOptions(c.HeadDim)
	options.Traditional = true
	rope := b.RoPEOf(options)
	return c.decoder(b, func(path string, _ int) block { return c.layer(b, path, rope) }), b.Err()
}
