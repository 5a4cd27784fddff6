package models

import (
	"slices"
	"strings"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// conversion is what mlx-lm does differently for a family when it converts a checkpoint. All are
// ends of paths, or of names for uncast.
type conversion struct {
	eightBit []string // quantised to 8 bits in groups of 64, whatever was asked for
	dense    []string // never quantised
	uncast   []string // arrays that keep their dtype
}

var (
	routerGate  = conversion{eightBit: []string{"mlp.gate"}}
	sharedGates = conversion{eightBit: []string{"mlp.gate", "shared_expert_gate"}}
	biasedGate  = conversion{eightBit: []string{"block_sparse_moe.gate"}, uncast: []string{"e_score_correction_bias"}}
	latentGate  = conversion{dense: []string{"mlp.gate", "kv_b_proj"}, uncast: plainGate.uncast} // mlx-lm has made two of kv_b_proj
	plainGate   = conversion{dense: []string{"mlp.gate"}, uncast: []string{"e_score_correction_bias"}}
)

// conversions are the families that convert in a way of their own, by model_type.
var conversions = map[string]conversion{
	"deepseek_v2":      {dense: []string{"mlp.gate"}},
	"deepseek_v3":      latentGate,
	"dots1":            {dense: []string{"mlp.gate"}},
	"gemma4":           {eightBit: []string{"router.proj"}},
	"gemma4_text":      {eightBit: []string{"router.proj"}},
	"gemma4_unified":   {eightBit: []string{"router.proj"}},
	"glm4_moe":         plainGate,
	"glm4_moe_lite":    latentGate,
	"gpt_oss":          {eightBit: []string{"router"}},
	"granite":          {eightBit: []string{"self_attn.o_proj", "mlp.down_proj", "lm_head"}},
	"granitemoe":       {eightBit: []string{"block_sparse_moe.router.layer", "self_attn.o_proj", "mlp.down_proj", "lm_head"}},
	"granitemoehybrid": {eightBit: []string{"router.layer"}},
	"joyai_llm_flash":  latentGate,
	"kimi_k2":          latentGate,
	"lfm2_moe":         {eightBit: []string{"feed_forward.gate"}, uncast: []string{"expert_bias"}},
	"minimax":          biasedGate,
	"minimax_m2":       biasedGate,
	"nemotron_h":       {dense: []string{"mixer.gate"}, uncast: []string{"e_score_correction_bias", "A_log"}},
	"qwen3_5":          {eightBit: sharedGates.eightBit, uncast: []string{"A_log"}},
	"qwen3_5_moe":      {eightBit: sharedGates.eightBit, uncast: []string{"A_log"}},
	"qwen3_moe":        routerGate,
	"qwen3_next":       sharedGates,
	"qwen3_vl_moe":     routerGate,
}

// Convert is how mlx_lm.convert makes a model of the configuration one of a format.
func Convert(config *load.Config, format *load.QuantSpec) (*nn.Conversion, error) {
	dtype, err := config.ConversionDType()
	if err != nil {
		return nil, err
	}
	own := conversions[config.ModelType]
	eightBit := &load.QuantSpec{GroupSize: 64, Bits: 8, Mode: mlx.Affine}
	return &nn.Conversion{
		DType: func(name string) *mlx.DType {
			if endsIn(name, own.uncast) {
				return nil
			}
			return dtype
		},
		Format: func(path string, in int) *load.QuantSpec {
			switch {
			case in%format.GroupSize != 0 || endsIn(path, own.dense):
				return nil
			case endsIn(path, own.eightBit):
				return eightBit
			default:
				return format
			}
		},
	}, nil
}

func endsIn(name string, ends []string) bool {
	return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(name, end) })
}
