package models

import (
	"strings"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newExaone4 is EXAONE 4: blocks that normalise what they add, with normalised query and key
// heads. Where a pattern says which layers have a sliding window, only those have positions.
func newExaone4(b *nn.Builder) (Model, error) {
	var c struct {
		llamaConfig
		Pattern string `json:"sliding_window_pattern"` // L: a window, G: everything; repeated; "": no layer has one
	}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if strings.Trim(c.Pattern, "LG") != "" {
		return nil, fault.New(fault.ModelLoad, "config.json: sliding_window_pattern is %q; accepted: letters L and G", c.Pattern)
	}
	if c.Pattern != "" {
		c.LayerTypes = nil
		for i := range c.Layers {
			kind := fullAttention
			if c.Pattern[i%len(c.Pattern)] == 'L' {
				kind = slidingAttention
			}
			c.LayerTypes = append(c.LayerTypes, kind)
		}
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, layer int) block {
		l := c.postNormLayer(b, path, rope)
		l.attention.Prepare = c.normalizeHeads(b, path)
		if c.Pattern != "" && c.LayerTypes[layer] == fullAttention {
			l.attention.RoPE = nil
		}
		return l
	}), b.Err()
}
