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
	"mlx-worker/gpu/load"
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
	"cohere":           newCohere,
	"cohere2":          newCohere2,
	"deepseek_v2":      newDeepseekV2,
	"deepseek_v3":      newDeepseekV3,
	"dots1":            newDots1,
	"ernie4_5":         newNeighbourRoPE,
	"ernie4_5_moe":     newERNIE45MoE,
	"exaone":           newExaone,
	"exaone4":          newExaone4,
	"falcon_h1":        newFalconH1,
	"gemma":            newGemma,
	"gemma2":           newGemma2,
	"gemma3":           newGemma3,
	"gemma3_text":      newGemma3Text,
	"gemma3n":          newGemma3n,
	"gemma4":           newGemma4,
	"gemma4_text":      newGemma4Text,
	"gemma4_unified":   newGemma4,
	"glm":              newGLM,
	"glm4":             newGLM4,
	"glm4_moe":         newGLM4MoE,
	"glm4_moe_lite":    newGLM4MoELite,
	"gpt_oss":          newGPTOSS,
	"granite":          newGranite,
	"granitemoe":       newGraniteMoE,
	"granitemoehybrid": newGraniteMoEHybrid,
	"helium":           newNeighbourRoPE,
	"hunyuan_v1_dense": newHunyuanV1Dense,
	"internlm2":        newInternLM2,
	"internlm3":        newInternLM3,
	"iquestcoder":      newLlama,
	"joyai_llm_flash":  newDeepseekV3,
	"kimi_k2":          newDeepseekV3,
	"lfm2":             newLFM2,
	"lfm2_moe":         newLFM2MoE,
	"llama":            newLlama,
	"llama4":           newLlama4,
	"llama4_text":      newLlama4Text,
	"mamba2":           newMamba2,
	"mimo":             newMiMo,
	"minicpm":          newMiniCPM,
	"minimax":          newMiniMax,
	"minimax_m2":       newMiniMax,
	"ministral3":       newMinistral3,
	"mistral":          newLlama,
	"mistral3":         newMistral3,
	"mixtral":          newMixtral,
	"nemotron":         newNemotron,
	"nemotron_h":       newNemotronH,
	"olmo":             newOlmo,
	"olmo2":            newOlmo2,
	"olmo3":            newOlmo3,
	"olmoe":            newOLMoE,
	"phi":              newPhi,
	"phi3":             newPhi3,
	"phimoe":           newPhiMoE,
	"pixtral":          newPixtral,
	"qwen2":            newQwen2,
	"qwen2_5_vl":       textOf(newQwen2),
	"qwen2_moe":        newQwen2MoE,
	"qwen2_vl":         textOf(newQwen2),
	"qwen3":            newQwen3,
	"qwen3_5":          newQwen35,
	"qwen3_5_moe":      newQwen35,
	"qwen3_moe":        newQwen3MoE,
	"qwen3_next":       newQwen3Next,
	"qwen3_vl":         textOf(newQwen3),
	"qwen3_vl_moe":     newQwen3VLMoE,
	"seed_oss":         newLlama,
	"smollm3":          newSmolLM3,
	"stablelm":         newStableLM,
	"starcoder2":       newStarCoder2,
	"xverse":           newLlama,
}

// New builds the model that the builder's configuration names. It does not Finish the builder.
func New(b *nn.Builder) (Model, error) {
	build, known := families[b.Config.ModelType]
	if !known {
		return nil, unknown(b.Config.ModelType)
	}
	return build(b)
}

// Check reports whether New would build the checkpoint's model, without reading its weights: the
// family, its configuration, names and shapes. It returns the number of parameters.
func Check(checkpoint load.Checkpoint) (parameters int64, err error) {
	b := nn.NewDryBuilder(checkpoint)
	if _, err := New(b); err != nil {
		b.Fail(err)
	}
	weights, err := b.Finish()
	return weights.Parameters, err
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
