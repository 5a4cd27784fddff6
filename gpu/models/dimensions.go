package models

import (
	"fmt"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// dimensions are the sizes of a decoder, under the keys of config.json that most families share.
type dimensions struct {
	HiddenSize       int `json:"hidden_size"`
	Layers           int `json:"num_hidden_layers"`
	IntermediateSize int `json:"intermediate_size"`
	Heads            int `json:"num_attention_heads"`
	KVHeads          int `json:"num_key_value_heads"` // 0: Heads
	HeadDim          int `json:"head_dim"`            // 0: HiddenSize / Heads
	VocabSize        int `json:"vocab_size"`
}

func (d *dimensions) complete() error {
	if d.KVHeads == 0 {
		d.KVHeads = d.Heads
	}
	if d.HeadDim == 0 && d.Heads > 0 {
		d.HeadDim = d.HiddenSize / d.Heads
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"hidden_size", d.HiddenSize}, {"num_hidden_layers", d.Layers}, {"intermediate_size", d.IntermediateSize},
		{"num_attention_heads", d.Heads}, {"num_key_value_heads", d.KVHeads}, {"head_dim", d.HeadDim}, {"vocab_size", d.VocabSize},
	} {
		if field.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive", field.name, field.value)
		}
	}
	if d.Heads%d.KVHeads != 0 {
		return fault.New(fault.ModelLoad, "config.json: %d attention heads are not a multiple of %d key-value heads", d.Heads, d.KVHeads)
	}
	return nil
}

// decoder builds what surrounds the blocks, under llama's names, and the blocks by block. norm is
// the last one, at model.norm in most families.
func (d *dimensions) decoder(b *nn.Builder, tied bool, norm nn.Norm, block func(path string, layer int) block) *decoder {
	b.Ignore(isRotaryBuffer)
	m := &decoder{embedding: b.Embedding("model.embed_tokens", d.VocabSize, d.HiddenSize), norm: norm}
	for i := range d.Layers {
		m.blocks = append(m.blocks, block(fmt.Sprintf("model.layers.%d", i), i))
	}
	m.output(b, tied, "lm_head", d.HiddenSize, d.VocabSize)
	return m
}

// attention builds self_attn of the block at path, with llama's names.
func (d *dimensions) attention(b *nn.Builder, path string, rope *nn.RoPE) *nn.Attention {
	return b.Attention(path+".self_attn", d.HiddenSize, d.Heads, d.KVHeads, d.HeadDim, rope)
}

// positive checks the epsilon that config.json has at key.
func positive(key string, epsilon float32) error {
	if epsilon <= 0 {
		return fault.New(fault.ModelLoad, "config.json: %s is %g, and must be positive", key, epsilon)
	}
	return nil
}

// partialRoPE reads a rotary embedding of the first dimensions of heads, a part of them that
// partial_rotary_factor says.
func partialRoPE(b *nn.Builder, headDim int, part float64) (nn.RoPEOptions, error) {
	options := b.RoPEOptions(headDim)
	if options.Scaling != nil && options.Scaling.PartialRotaryFactor != nil {
		part = *options.Scaling.PartialRotaryFactor
	}
	var err error
	options.Dims, err = partOf(headDim, part, "partial_rotary_factor")
	return options, err
}

// partOf is the number of a head's dimensions that are rotated, a part of them that the
// configuration says at key.
func partOf(headDim int, part float64, key string) (int, error) {
	dims := int(float64(headDim) * part)
	if part <= 0 || part > 1 || dims < 2 || dims%2 != 0 {
		return 0, fault.New(fault.ModelLoad, "config.json: %s is %g, which rotates %d of a head's %d dimensions; accepted: an even number, at least 2", key, part, dims, headDim)
	}
	return dims, nil
}
