package models

import (
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// newMistral3 is the language model of a multimodal Mistral 3, whose head is not tied unless it
// says so.
func newMistral3(b *nn.Builder) (Model, error) {
	outer := b.Config.ModelType
	if err := useText(b); err != nil {
		return nil, err
	}
	switch b.Config.ModelType {
	case "ministral3":
		return ministral3(b, false)
	case "llama", "mistral", outer:
		return untiedLlama(b, dimensions{})
	}
	return nil, fault.New(fault.ModelLoad, "config.json: text_config has model_type %q; accepted: llama, ministral3, mistral", b.Config.ModelType)
}

// newPixtral is the language model of Pixtral, whose configuration leaves out what is Mistral's.
func newPixtral(b *nn.Builder) (Model, error) {
	if err := useText(b); err != nil {
		return nil, err
	}
	return untiedLlama(b, dimensions{Heads: 32})
}

// untiedLlama is llama whose head is not tied unless it says so. absent is what it means that
// dimensions are not said.
func untiedLlama(b *nn.Builder, absent dimensions) (Model, error) {
	c := llamaConfig{dimensions: absent, TieEmbeddings: new(false)}
	if err := c.read(b); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block { return c.layer(b, path, rope) }), b.Err()
}
