package models

import (
	"regexp"
	"strconv"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// completeWindowPattern makes the last of every so many layers see all, and the others a window, unless
// layer_types says which do.
func (c *llamaConfig) completeWindowPattern(pattern int) error {
	if pattern < 1 {
		return fault.New(fault.ModelLoad, "config.json: sliding_window_pattern is %d, and must be positive", pattern)
	}
	if c.LayerTypes != nil {
		return nil
	}
	for i := range max(c.Layers, 0) {
		kind := slidingAttention
		if (i+1)%pattern == 0 {
			kind = fullAttention
		}
		c.LayerTypes = append(c.LayerTypes, kind)
	}
	return nil
}

// windows are the caches of layers of the types in LayerTypes.
func (c *llamaConfig) windows() []cache.Layer {
	var all []cache.Layer
	for _, kind := range c.LayerTypes {
		all = append(all, windowOf(kind, c.SlidingWindow))
	}
	return all
}

// completeSharing checks that the last layers, so many, can see the caches of others.
func (c *llamaConfig) completeSharing(shared int) error {
	if shared < 0 || shared >= c.Layers {
		return fault.New(fault.ModelLoad, "config.json: num_kv_shared_layers is %d of %d layers; accepted: less", shared, c.Layers)
	}
	for i := c.Layers - shared; i < c.Layers; i++ {
		if c.cacheOf(i, shared) < 0 {
			return fault.New(fault.ModelLoad, "config.json: num_kv_shared_layers is %d, and layer %d has no %s layer to share with", shared, i, c.LayerTypes[i])
		}
	}
	return nil
}

// cacheOf is the layer whose keys and values a layer sees: itself, or for the last ones, so many,
// the last one of its type before them; -1 if there is none.
func (c *llamaConfig) cacheOf(layer, shared int) int {
	own := c.Layers - shared
	if layer < own {
		return layer
	}
	for i := own - 1; i >= 0; i-- {
		if c.LayerTypes[i] == c.LayerTypes[layer] {
			return i
		}
	}
	return -1
}

// ignoreShared drops what published checkpoints hold of keys and values of layers that see those
// of others.
func (c *llamaConfig) ignoreShared(b *nn.Builder, shared int) {
	b.Ignore(func(name string) bool {
		match := layerKeys.FindStringSubmatch(name)
		if match == nil {
			return false
		}
		layer, err := strconv.Atoi(match[1])
		return err == nil && layer >= c.Layers-shared
	})
}

var layerKeys = regexp.MustCompile(`\.layers\.(\d+)\.self_attn\.(?:k_proj|v_proj|k_norm)\.`)

// ropeByLayerType is what rope_parameters says where it differs by type of layer.
type ropeByLayerType map[string]struct {
	Theta float64 `json:"rope_theta"`
	nn.RoPEScaling
}

// build makes the rotary embeddings of the types of layers in dims, over so many dimensions.
func (r ropeByLayerType) build(b *nn.Builder, traditional bool, dims map[string]int) map[string]*nn.RoPE {
	ropes := map[string]*nn.RoPE{}
	for kind, n := range dims {
		said := r[kind]
		ropes[kind] = b.RoPEOf(nn.RoPEOptions{
			Dims: n, Theta: said.Theta, Traditional: traditional, Scaling: &said.RoPEScaling, MaxLength: b.Config.MaxLength,
		})
	}
	return ropes
}
