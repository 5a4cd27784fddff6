package models

import (
	"cmp"
	"slices"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// lfm2Config is LFM2's: short convolutions with an attention now and then; and LFM2 MoE's, where
// layers after the first have experts.
type lfm2Config struct {
	dimensions
	NormEps         float32  `json:"norm_eps"`
	Kernel          int      `json:"conv_L_cache"`
	AttentionLayers []int    `json:"full_attn_idxs"` // nil: those that LayerTypes says
	LayerTypes      []string `json:"layer_types"`

	BlockSize       int      `json:"block_dim"`    // 0, or the hidden size
	InnerSize       int      `json:"block_ff_dim"` // 0: intermediate_size
	AdjustInnerSize bool     `json:"block_auto_adjust_ff_dim"`
	InnerMultiplier *float64 `json:"block_ffn_dim_multiplier"`
	InnerMultipleOf int      `json:"block_multiple_of"`

	Experts          int     `json:"num_experts"`
	ChosenExperts    int     `json:"num_experts_per_tok"`
	ExpertSize       int     `json:"moe_intermediate_size"`
	DenseLayers      int     `json:"num_dense_layers"` // have no experts
	NormalizeWeights bool    `json:"norm_topk_prob"`
	CorrectChoice    bool    `json:"use_expert_bias"`
	WeightScale      float64 `json:"routed_scaling_factor"`
}

func (c *lfm2Config) read(b *nn.Builder) error {
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	c.HeadDim = 0 // of the heads' number
	if err := c.completeInnerSize(); err != nil {
		return err
	}
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := positive("norm_eps", c.NormEps); err != nil {
		return err
	}
	if c.Kernel < 2 {
		return fault.New(fault.ModelLoad, "config.json: conv_L_cache is %d, and must be at least 2", c.Kernel)
	}
	if c.BlockSize != 0 && c.BlockSize != c.HiddenSize {
		return fault.New(fault.ModelLoad, "config.json: block_dim is %d; accepted: hidden_size, %d", c.BlockSize, c.HiddenSize)
	}
	return c.completeLayers()
}

func (c *lfm2Config) completeInnerSize() error {
	c.IntermediateSize = cmp.Or(c.InnerSize, c.IntermediateSize)
	if !c.AdjustInnerSize {
		return nil
	}
	if c.InnerMultipleOf <= 0 {
		return fault.New(fault.ModelLoad, "config.json: block_multiple_of is %d, and must be positive", c.InnerMultipleOf)
	}
	size := 2 * c.IntermediateSize / 3
	if c.InnerMultiplier != nil {
		size = int(*c.InnerMultiplier * float64(size))
	}
	c.IntermediateSize = (size + c.InnerMultipleOf - 1) / c.InnerMultipleOf * c.InnerMultipleOf
	return nil
}

func (c *lfm2Config) completeLayers() error {
	if c.AttentionLayers != nil {
		return nil
	}
	if len(c.LayerTypes) != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: layer_types has %d entries for %d layers", len(c.LayerTypes), c.Layers)
	}
	for i, kind := range c.LayerTypes {
		switch kind {
		case fullAttention:
			c.AttentionLayers = append(c.AttentionLayers, i)
		case "conv":
		default:
			return fault.New(fault.ModelLoad, "config.json: layer_types has %q; accepted: conv, %s", kind, fullAttention)
		}
	}
	return nil
}

func newLFM2(b *nn.Builder) (Model, error) {
	var c lfm2Config
	if err := c.read(b); err != nil {
		return nil, err
	}
	return c.build(b, func(path string, _ int) feedForward {
		return b.SwiGLUOf(path, []string{"w1", "w3"}, "w2", c.HiddenSize, c.IntermediateSize)
	})
}

func newLFM2MoE(b *nn.Builder) (Model, error) {
	c := lfm2Config{WeightScale: 1}
	if err := c.read(b); err != nil {
		return nil, err
	}
	if err := checkExperts("num_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	if c.ExpertSize <= 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d, and must be positive", c.ExpertSize)
	}
	published := strings.NewReplacer(".w1.", ".gate_proj.", ".w2.", ".down_proj.", ".w3.", ".up_proj.")
	b.Rename(published.Replace)
	return c.build(b, func(path string, layer int) feedForward {
		if layer < c.DenseLayers {
			return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
		}
		return &nn.MoE{Route: c.router(b, path), Experts: b.GatedExpertsNamed(expertsBelow(path), c.Experts, c.HiddenSize, c.ExpertSize)}
	})
}

// router weighs a token's experts by their sigmoids. Those plus a correction decide which it
// takes.
func (c *lfm2Config) router(b *nn.Builder, path string) nn.Router {
	gate := b.Linear(path+".gate", c.HiddenSize, c.Experts)
	var correction *mlx.Ref
	if c.CorrectChoice {
		correction = b.Vector(path+".expert_bias", c.Experts)
	}
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		sigmoids := s.Sigmoid(gate.Forward(s, x))
		scores := sigmoids
		if correction != nil {
			scores = s.Add(s.AsType(sigmoids, mlx.Float32), correction.Array())
		}
		indices = nn.TopK(s, scores, c.ChosenExperts)
		weights = s.TakeAlongAxis(sigmoids, indices, -1)
		if s.Err() != nil {
			return mlx.Array{}, mlx.Array{}
		}
		number := func(v float64) mlx.Array { return s.Scalar(v, weights.DType()) }
		if c.NormalizeWeights {
			weights = s.Divide(weights, s.Add(s.Sum(weights, -1, true), number(1e-6)))
		}
		return indices, s.Multiply(weights, number(c.WeightScale))
	}
}

// build makes the model. mlp builds the feed-forward part of a layer.
func (c *lfm2Config) build(b *nn.Builder, mlp func(path string, layer int) feedForward) (Model, error) {
	rope := b.RoPEOr(c.HeadDim, 1e6)
	norm := b.RMSNorm("model.embedding_norm", c.HiddenSize, c.NormEps)
	m := c.decoder(b, true, norm, func(path string, i int) block {
		l := &hybrid{
			mixerNorm: b.RMSNorm(path+".operator_norm", c.HiddenSize, c.NormEps),
			mlpNorm:   b.RMSNorm(path+".ffn_norm", c.HiddenSize, c.NormEps),
			mlp:       mlp(path+".feed_forward", i),
		}
		if !slices.Contains(c.AttentionLayers, i) {
			l.mixer = newShortConv(b, path+".conv", c.HiddenSize, c.Kernel)
			return l
		}
		attention := b.AttentionOf(path+".self_attn", []string{"q_proj", "k_proj", "v_proj"}, "out_proj", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope)
		attention.Prepare = nn.NormalizeHeads(
			b.RMSNorm(path+".self_attn.q_layernorm", c.HeadDim, c.NormEps),
			b.RMSNorm(path+".self_attn.k_layernorm", c.HeadDim, c.NormEps),
		)
		l.mixer = attention
		return l
	})
	for i := range c.Layers {
		m.caches = append(m.caches, cache.Layer{Recurrent: !slices.Contains(c.AttentionLayers, i)})
	}
	return m, b.Err()
}

// shortConv is LFM2's mixer: a convolution over a few tokens between two gates.
type shortConv struct {
	in, out nn.Linear // in to gate before | gate after | input
	conv    *nn.CausalConv
	hidden  int
}

func newShortConv(b *nn.Builder, path string, hidden, kernel int) *shortConv {
	return &shortConv{
		in:     b.Linear(path+".in_proj", hidden, 3*hidden),
		conv:   b.CausalConv(path+".conv", hidden, kernel),
		out:    b.Linear(path+".out_proj", hidden, hidden),
		hidden: hidden,
	}
}

// Forward implements mixer.
func (m *shortConv) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	all := m.in.Forward(c.Scope, x)
	part := func(i int) mlx.Array { return c.SliceAxis(all, -1, i*m.hidden, (i+1)*m.hidden) }
	y := c.Recur([]mlx.Array{c.Multiply(part(0), part(2))}, func(g cache.Segment, in []mlx.Array) mlx.Array {
		y, next := m.conv.Forward(c.Scope, in[0], nn.StateOf(g, layer, 1)[0])
		g.SetState(layer, next)
		return y
	})
	return m.out.Forward(c.Scope, c.Multiply(part(1), y))
}
