package models

import (
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newSmolLM3 is SmolLM 3: llama with layers that have no positions.
func newSmolLM3(b *nn.Builder) (Model, error) {
	var c struct {
		llamaConfig
		PlainInterval int   `json:"no_rope_layer_interval"` // every so many layers one has no positions
		Rotated       []int `json:"no_rope_layers"`         // 0: the layer has none; nil: by PlainInterval
	}
	c.PlainInterval = 4
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.Rotated == nil && c.PlainInterval <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: no_rope_layer_interval is %d, and must be positive", c.PlainInterval)
	}
	if c.Rotated != nil && len(c.Rotated) != c.Layers {
		return nil, fault.New(fault.ModelLoad, "config.json: no_rope_layers has %d entries for %d layers", len(c.Rotated), c.Layers)
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, layer int) block {
		if c.Rotated != nil && c.Rotated[layer] == 0 || c.Rotated == nil && (layer+1)%c.PlainInterval == 0 {
			return c.layer(b, path, nil)
		}
		return c.layer(b, path, rope)
	}), b.Err()
}
