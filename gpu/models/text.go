package models

import (
	"strings"

	"mlx-worker/gpu/nn"
)

// useText makes b the builder of the language model of a multimodal checkpoint: text_config is
// its configuration, its arrays are named as those of a language model alone, and those of other
// models are ignored.
func useText(b *nn.Builder) error {
	config, err := b.Config.Text(textName)
	if err != nil {
		return err
	}
	b.Config = config
	b.Ignore(isOfOtherModality)
	b.Rename(textName)
	return nil
}

// textOf builds the language model of a multimodal family, whose configuration may be flat.
func textOf(family func(*nn.Builder) (Model, error)) func(*nn.Builder) (Model, error) {
	return func(b *nn.Builder) (Model, error) {
		if err := useTextIfNested(b); err != nil {
			return nil, err
		}
		return family(b)
	}
}

// textName takes out how mlx-lm, or transformers, nests a language model.
func textName(name string) string {
	if rest, found := strings.CutPrefix(name, "model.language_model."); found {
		return "model." + rest
	}
	return strings.TrimPrefix(name, "language_model.")
}

// isOfOtherModality reports whether an array belongs to what turns images or sounds into
// embeddings.
func isOfOtherModality(name string) bool {
	part, _, _ := strings.Cut(strings.TrimPrefix(name, "model."), ".")
	switch part {
	case "vision_tower", "vision_model", "vision_embedder", "visual", "embed_vision", "multi_modal_projector", "audio_tower", "embed_audio":
		return true
	}
	return false
}
