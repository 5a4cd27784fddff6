package models

import (
	"encoding/json"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// llama4Config is Llama 4's: most layers attend within blocks of positions, and those that do not
// have no rotary embedding; some layers have experts.
type llama4Config struct {
	dimensions
	RMSNormEps      float32 `json:"rms_norm_eps"`
	TieEmbeddings   bool    `json:"tie_word_embeddings"`
	DenseSize       int     `json:"intermediate_size_mlp"`
	NormalizeQK     bool    `json:"use_qk_norm"`
	Rotated         []int   `json:"no_rope_layers"`         // 0: the layer has no positions; empty: by PlainInterval
	PlainInterval   int     `json:"no_rope_layer_interval"` // every so many layers one has no positions
	AttentionBlock  int     `json:"attention_chunk_size"`   // 0: every layer attends to everything
	Experts         int     `json:"num_local_experts"`
	ChosenExperts   int     `json:"num_experts_per_tok"`
	SparseStep      int     `json:"interleave_moe_layer_step"` // every so many layers have experts
	Temperature     truth   `json:"attn_temperature_tuning"`
	TemperatureStep float64 `json:"floor_scale"`
	TemperatureRate float64 `json:"attn_scale"`
}

// truth is a boolean that some configurations write as a number.
type truth bool

func (t *truth) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var number float64
	if json.Unmarshal(data, &number) == nil {
		*t = number != 0
		return nil
	}
	return json.Unmarshal(data, (*bool)(t))
}

func (c *llama4Config) complete() error {
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := positive("rms_norm_eps", c.RMSNormEps); err != nil {
		return err
	}
	if len(c.Rotated) == 0 && c.PlainInterval <= 0 {
		return fault.New(fault.ModelLoad, "config.json: no_rope_layer_interval is %d, and must be positive", c.PlainInterval)
	}
	if len(c.Rotated) > 0 && len(c.Rotated) != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: no_rope_layers has %d entries for %d layers", len(c.Rotated), c.Layers)
	}
	if c.DenseSize <= 0 {
		return fault.New(fault.ModelLoad, "config.json: intermediate_size_mlp is %d, and must be positive", c.DenseSize)
	}
	if c.AttentionBlock < 0 {
		return fault.New(fault.ModelLoad, "config.json: attention_chunk_size is %d, and must not be negative", c.AttentionBlock)
	}
	if c.Temperature && c.TemperatureStep <= 0 {
		return fault.New(fault.ModelLoad, "config.json: floor_scale is %g, and must be positive", c.TemperatureStep)
	}
	return nil
}

// rotated reports whether a layer has positions.
func (c *llama4Config) rotated(layer int) bool {
	if len(c.Rotated) > 0 {
		return c.Rotated[layer] != 0
	}
	return (layer+1)%c.PlainInterval != 0
}

func (c *llama4Config) caches() []cache.Layer {
	all := make([]cache.Layer, c.Layers)
	for i := range all {
		if c.rotated(i) {
			all[i].Block = c.AttentionBlock
		}
	}
	return all
}

func (c *llama4Config) layer(b *nn.Builder, path string, rope *nn.RoPE, mlp feedForward) *preNorm {
	return &preNorm{
		attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention:     c.attention(b, path, rope),
		mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:           mlp,
	}
}

func (c *llama4Config) rope(b *nn.Builder) *nn.RoPE {
	options := b.RoPEOptions(c.HeadDim)
	options.Traditional = true
	return b.RoPEOf(options)
}

// newLlama4Text is a dense Llama 4, such as MobileLLM-R1. It normalises queries and keys of all
// layers, before they get their positions.
func newLlama4Text(b *nn.Builder) (Model, error) {
	c := llama4Config{PlainInterval: 4, TemperatureStep: 8192, TemperatureRate: 0.1}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.Temperature {
		return nil, fault.New(fault.ModelLoad, "config.json: attn_temperature_tuning is true; accepted for %s: false", b.Config.ModelType)
	}
	b.Rename(func(name string) string { // as mlx-lm calls the head
		if rest, found := strings.CutPrefix(name, "output."); found {
			return "lm_head." + rest
		}
		return name
	})
	rope := c.rope(b)
	norm := b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	m := c.decoder(b, c.TieEmbeddings, norm, func(path string, i int) block {
		l := c.layer(b, path, nil, b.SwiGLU(path+".feed_forward", c.HiddenSize, c.DenseSize))
		if c.rotated(i) {
			l.attention.RoPE = rope
		}
		if c.NormalizeQK {
			l.attention.Prepare = nn.NormalizeHeads(nn.PlainRMSNorm(c.RMSNormEps), nn.PlainRMSNorm(c.RMSNormEps))
		}
		return l
	})
	m.caches = c.caches()
	return m, b.Err()
}

// llama4QKEps is the epsilon of the normalisation of queries and keys, whatever the configuration
// says.
const llama4QKEps = 1e-6

// newLlama4 is the language model of Llama 4 Scout and Maverick. Queries and keys of the layers
// with positions are normalised, after they got them; queries of the others grow with the position.
func newLlama4(b *nn.Builder) (Model, error) {
	if err := useText(b); err != nil {
		return nil, err
	}
	c := llama4Config{PlainInterval: 4, Temperature: true, TemperatureStep: 8192, TemperatureRate: 0.1}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.SparseStep <= 0 || c.ChosenExperts != 1 {
		return nil, fault.New(fault.ModelLoad, "config.json: interleave_moe_layer_step is %d, and must be positive, and num_experts_per_tok %d; accepted: 1", c.SparseStep, c.ChosenExperts)
	}
	if err := checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	rope := c.rope(b)
	growth := &llama4Growth{step: c.TemperatureStep, rate: c.TemperatureRate}
	norm := b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	m := c.decoder(b, c.TieEmbeddings, norm, func(path string, i int) block {
		l := c.layer(b, path, nil, c.mlp(b, path+".feed_forward", i))
		switch {
		case c.rotated(i):
			l.attention.RoPE = rope
			if c.NormalizeQK {
				l.attention.Finish = nn.NormalizeRotated(nn.PlainRMSNorm(llama4QKEps), nn.PlainRMSNorm(llama4QKEps))
			}
		case bool(c.Temperature):
			l.attention.Prepare = growth.apply
		}
		return l
	})
	if c.Temperature {
		m.prepare = growth.prepare
	}
	m.caches = c.caches()
	return m, b.Err()
}

// llama4Growth multiplies queries by 1 + rate * ln(1 + ⌊(position + 1) / step⌋).
type llama4Growth struct {
	step, rate float64

	pass mlx.Array // float32 [T, 1, 1] of the pass being computed
}

func (g *llama4Growth) prepare(c *nn.Context, _, _ mlx.Array) {
	number := func(v float64) mlx.Array { return c.Scalar(v, mlx.Float32) }
	positions := c.Add(c.AsType(c.Pass.TokenPositions(), mlx.Float32), number(1))
	steps := c.Floor(c.Divide(positions, number(g.step)))
	factors := c.Add(c.Multiply(c.Log(c.Add(steps, number(1))), number(g.rate)), number(1))
	g.pass = c.Reshape(factors, -1, 1, 1)
}

// apply is a Prepare of attention.
func (g *llama4Growth) apply(c *nn.Context, q, k, v mlx.Array) (mlx.Array, mlx.Array, mlx.Array) {
	if c.Err() != nil {
		return q, k, v
	}
	return c.AsType(c.Multiply(q, g.pass), q.DType()), k, v
}

func (c *llama4Config) mlp(b *nn.Builder, path string, layer int) feedForward {
	if layer%c.SparseStep != c.SparseStep-1 {
		return b.SwiGLU(path, c.HiddenSize, c.DenseSize)
	}
	return &llama4MoE{
		router:  b.Linear(path+".router", c.HiddenSize, c.Experts),
		experts: c.experts(b, path+".experts"),
		shared:  b.SwiGLU(path+".shared_expert", c.HiddenSize, c.IntermediateSize),
	}
}

// experts builds those at path: as mlx-lm converts them, or as published.
func (c *llama4Config) experts(b *nn.Builder, path string) *nn.GatedExperts {
	if !b.Has(path + ".gate_up_proj") {
		return b.GatedExperts(path, c.Experts, c.HiddenSize, c.IntermediateSize)
	}
	return b.TransposedGatedExperts(path, c.Experts, c.HiddenSize, c.IntermediateSize)
}

// llama4MoE is a mixture of experts, of which a token takes one, that weighs what goes into them.
type llama4MoE struct {
	router  nn.Linear
	experts *nn.GatedExperts
	shared  feedForward
}

// Forward implements feedForward.
func (m *llama4MoE) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	logits := m.router.Forward(s, x)
	indices := nn.TopKNegated(s, logits, 1)
	weights := s.Sigmoid(s.AsType(s.TakeAlongAxis(logits, indices, -1), mlx.Float32))
	if s.Err() != nil {
		return mlx.Array{}
	}
	y := m.experts.Forward(s, s.Multiply(x, s.AsType(weights, x.DType())), indices)
	return s.Add(s.Squeeze(y, 2), m.shared.Forward(s, x))
}
