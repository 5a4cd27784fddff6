// Package models holds the model families, one file each.
//
// A family is a constructor that reads its configuration and takes its layers from an
// nn.Builder, and a forward pass. To add one, write the file and a row in families.
package models

import (
	"maps"
	"slices"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// Model is a decoder-only language model on a device.
type Model interface {
	// Hidden runs the pass's tokens, int32 [1, T], through the layers and extends its caches. It
	// returns [1, T, hidden], normalised.
	Hidden(c *nn.Context, tokens mlx.Array) mlx.Array

	// Logits projects hidden states [1, T, hidden] to [1, T, vocab].
	Logits(s *mlx.Scope, hidden mlx.Array) mlx.Array

	// Caches says what the caches that Hidden extends keep, by layer.
	Caches() []cache.Layer

	// VocabSize is the last dimension of the logits.
	VocabSize() int
}

// families maps model_type of config.json to the family that runs it, by name.
var families = map[string]func(*nn.Builder) (Model, error){
	"iquestcoder": newLlama,
	"llama":       newLlama,
	"mistral":     newLlama,
	"xverse":      newLlama,
}

// New builds the model that the builder's configuration names. It does not Finish the builder.
func New(b *nn.Builder) (Model, error) {
	build, known := families[b.Config.ModelType]
	if !known {
		return nil, unknown(b.Config.ModelType)
	}
	return build(b)
}

// Supported returns an error that names modelType if no family runs it.
func Supported(modelType string) error {
	if _, known := families[modelType]; !known {
		return unknown(modelType)
	}
	return nil
}

func unknown(modelType string) error {
	accepted := slices.Sorted(maps.Keys(families))
	return fault.New(fault.ModelLoad, "unknown architecture %q; accepted: %s", modelType, strings.Join(accepted, ", ")).
		With("architecture", modelType)
}
