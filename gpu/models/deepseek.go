package models

import (
	"cmp"
	"math"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// deepseekConfig is DeepSeek V2's and V3's: latent attention, and a mixture of experts beside
// shared ones after the first layers.
type deepseekConfig struct {
	dimensions
	RMSNormEps float32 `json:"rms_norm_eps"`
	InnerEps   float32 `json:"-"` // of the normalisations inside attention; 0: RMSNormEps
	Theta      float64 `json:"-"` // if the configuration does not say it; 0: RoPEOf's

	QueryRank *int `json:"q_lora_rank"` // null: queries are projections of the hidden state
	Latent    int  `json:"kv_lora_rank"`
	RopeDim   int  `json:"qk_rope_head_dim"`
	NopeDim   int  `json:"qk_nope_head_dim"`
	ValueDim  int  `json:"v_head_dim"`

	routedConfig
	SparseStep int `json:"moe_layer_freq"`
}

func (c *deepseekConfig) complete() error {
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := positive("rms_norm_eps", c.RMSNormEps); err != nil {
		return err
	}
	if c.QueryRank == nil {
		c.QueryRank = new(int)
	} else if *c.QueryRank <= 0 {
		return fault.New(fault.ModelLoad, "config.json: q_lora_rank is %d, and must be positive or null", *c.QueryRank)
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"kv_lora_rank", c.Latent}, {"qk_rope_head_dim", c.RopeDim}, {"qk_nope_head_dim", c.NopeDim}, {"v_head_dim", c.ValueDim},
	} {
		if field.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive", field.name, field.value)
		}
	}
	if c.SparseStep <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_layer_freq is %d, and must be positive", c.SparseStep)
	}
	return c.routedConfig.complete()
}

// deepseekDefaults are those of mlx-lm.
func deepseekDefaults() deepseekConfig {
	rank := 1536
	return deepseekConfig{
		RMSNormEps: 1e-6, QueryRank: &rank, Latent: 512, RopeDim: 64, NopeDim: 128, ValueDim: 128,
		SparseStep: 1, InnerEps: 1e-6, routedConfig: routedConfig{RoutingScale: 1},
	}
}

// newDeepseekV2 is DeepSeek V2, whose experts are weighed by a softmax.
func newDeepseekV2(b *nn.Builder) (Model, error) {
	c := deepseekDefaults()
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if c.NormalizeWeights {
		return nil, fault.New(fault.ModelLoad, "config.json: norm_topk_prob is true; accepted for %s: false", b.Config.ModelType)
	}
	switch c.RoutingMethod {
	case "group_limited_greedy":
	case "", "greedy", "gready":
		c.Groups = 1
	default:
		return nil, fault.New(fault.ModelLoad, "config.json: topk_method is %q; accepted: greedy, group_limited_greedy", c.RoutingMethod)
	}
	return c.build(b, func(path string) nn.Router {
		gate := b.Linear(path, c.HiddenSize, *c.Experts)
		return nn.GroupedSoftmaxRouter(gate, c.ChosenExperts, c.groups(), c.RoutingScale)
	})
}

// newDeepseekV3 is DeepSeek V3 and R1, Kimi K2 and Moonlight, whose experts are weighed by
// sigmoids.
func newDeepseekV3(b *nn.Builder) (Model, error) {
	c := deepseekDefaults()
	c.routedConfig = correctedDefaults()
	return c.corrected(b)
}

// newGLM4MoELite is GLM 4.7 Flash: DeepSeek V3 of other sizes.
func newGLM4MoELite(b *nn.Builder) (Model, error) {
	c := deepseekDefaults()
	c.routedConfig = correctedDefaults()
	c.RMSNormEps, c.InnerEps, c.Theta, c.FirstSparseLayer = 1e-5, 0, 1e6, 1
	*c.QueryRank, c.NopeDim, c.ValueDim = 768, 192, 256
	return c.corrected(b)
}

// corrected makes a model whose experts nn.CorrectedRouter chooses.
func (c *deepseekConfig) corrected(b *nn.Builder) (Model, error) {
	if err := b.Config.Decode(c); err != nil {
		return nil, err
	}
	if err := c.checkCorrected(); err != nil {
		return nil, err
	}
	return c.build(b, func(path string) nn.Router { return c.routedConfig.corrected(b, path, c.HiddenSize) })
}

// build makes the model. route builds the router of the gate at path.
func (c *deepseekConfig) build(b *nn.Builder, route func(path string) nn.Router) (Model, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	b.Ignore(isLaterLayer(c.Layers))
	options := b.RoPEOptions(c.RopeDim)
	options.Theta, options.Traditional = cmp.Or(options.Theta, c.Theta), true
	rope := b.RoPEOf(options)
	sizes := nn.MLADimensions{
		Heads: c.Heads, QueryRank: *c.QueryRank, Latent: c.Latent,
		NopeDim: c.NopeDim, RopeDim: c.RopeDim, ValueDim: c.ValueDim,
		NormEps: cmp.Or(c.InnerEps, c.RMSNormEps),
	}
	norm := b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	return c.decoder(b, false, norm, func(path string, i int) block {
		attention := b.MLA(path+".self_attn", c.HiddenSize, sizes, rope)
		attention.Scale *= scaleByLength(options.Scaling)
		return &hybrid{
			mixerNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			mixer:     attention,
			mlpNorm:   b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:       c.mlp(b, path+".mlp", i, route),
		}
	}), b.Err()
}

// scaleByLength is what scores are multiplied by in a model that was stretched with
// mscale_all_dim.
func scaleByLength(scaling *nn.RoPEScaling) float32 {
	if scaling == nil || scaling.MScaleAllDim == 0 || scaling.Factor <= 1 {
		return 1
	}
	scale := 0.1*scaling.MScaleAllDim*math.Log(scaling.Factor) + 1
	return float32(scale * scale)
}

func (c *deepseekConfig) mlp(b *nn.Builder, path string, layer int, route func(path string) nn.Router) feedForward {
	if c.Experts == nil || layer < c.FirstSparseLayer || layer%c.SparseStep != 0 {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	return c.experts(b, path, expertsBelow(path), c.HiddenSize, route(path+".gate"))
}
