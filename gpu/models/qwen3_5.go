package models

import (
	"strings"

	"mlx-worker/gpu/nn"
)

// newQwen35 is Qwen 3.5, dense or with experts: Qwen 3 Next with projections of their own for what
// a gated delta net takes. Checkpoints may have more modalities, which are left out.
func newQwen35(b *nn.Builder) (Model, error) {
	if err := useTextIfNested(b); err != nil {
		return nil, err
	}
	b.Rename(qwen35Name)
	c := qwen3NextConfig{
		dimensions:        dimensions{IntermediateSize: 14336}, // unused, and not said, where there are experts
		DefaultTheta:      100000,
		AttentionInterval: 4, RotaryPart: 0.25, SparseStep: 1, NormalizeWeights: true,
	}
	if err := c.read(b); err != nil {
		return nil, err
	}
	c.SparseStep, c.DenseLayers = 1, nil // all layers have experts, if any
	size := c.gatedDeltaSize
	return c.build(b, func(path string) nn.Linear {
		return b.Parallel(
			[]string{path + ".in_proj_qkv", path + ".in_proj_z", path + ".in_proj_b", path + ".in_proj_a"},
			c.HiddenSize, 2*size.keys()+size.values(), size.values(), size.Heads, size.Heads)
	})
}

// useTextIfNested is useText, or nothing but names for a language model alone.
func useTextIfNested(b *nn.Builder) error {
	var nested struct {
		Text *struct{} `json:"text_config"`
	}
	if err := b.Config.Decode(&nested); err != nil {
		return err
	}
	if nested.Text != nil {
		return useText(b)
	}
	b.Ignore(isOfOtherModality)
	b.Rename(textName)
	return nil
}

// qwen35Name gives experts as they are published the names that they have after mlx-lm's
// conversion.
func qwen35Name(name string) string {
	path, part, _ := strings.Cut(name, ".mlp.experts.")
	if part == "gate_up_proj" || part == "down_proj" {
		return path + ".mlp.switch_mlp." + part + ".weight"
	}
	return name
}
