package models

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// nemotronHConfig is Nemotron H's and Nemotron Nano's: Mamba 2 layers, attentions, and feed-forward
// layers, dense or with experts, in any order, each with a residual connection of its own.
type nemotronHConfig struct {
	dimensions
	NormEps    float32      `json:"layer_norm_epsilon"`
	Pattern    layerPattern `json:"hybrid_override_pattern"`
	BlockTypes []string     `json:"layers_block_type"` // instead of Pattern
	LayerTypes []string     `json:"layer_types"`       // the same

	MambaHeads   int       `json:"mamba_num_heads"`
	MambaHeadDim int       `json:"mamba_head_dim"`
	StateSize    int       `json:"ssm_state_size"`
	MambaGroups  int       `json:"n_groups"`
	Kernel       int       `json:"conv_kernel"`
	StepLimit    stepLimit `json:"time_step_limit"`

	Experts          int     `json:"n_routed_experts"`
	ChosenExperts    int     `json:"num_experts_per_tok"`
	ExpertSize       int     `json:"moe_intermediate_size"`
	SharedExperts    int     `json:"n_shared_experts"`
	SharedExpertSize int     `json:"moe_shared_expert_intermediate_size"`
	LatentSize       int     `json:"moe_latent_size"` // of what experts take and give; 0: the hidden size
	Groups           int     `json:"n_group"`
	ChosenGroups     int     `json:"topk_group"`
	NormalizeWeights bool    `json:"norm_topk_prob"`
	WeightScale      float64 `json:"routed_scaling_factor"`
}

// layerPattern has a letter for each layer, see layerLetters.
type layerPattern string

// UnmarshalJSON implements json.Unmarshaler: a string, or a list of letters.
func (p *layerPattern) UnmarshalJSON(data []byte) error {
	var letters []string
	if json.Unmarshal(data, &letters) == nil {
		*p = layerPattern(strings.Join(letters, ""))
		return nil
	}
	return json.Unmarshal(data, (*string)(p))
}

// The letters of a layerPattern.
const (
	mambaLetter     = 'M'
	attentionLetter = '*'
	denseLetter     = '-'
	expertsLetter   = 'E'
)

// layerLetters are the letters of layers' names.
var layerLetters = map[string]rune{
	fullAttention: attentionLetter, attentionLayer: attentionLetter,
	linearAttention: mambaLetter, mambaLayer: mambaLetter, "conv": mambaLetter,
	"moe": expertsLetter, "mlp": denseLetter,
}

func (c *nemotronHConfig) read(b *nn.Builder) error {
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	if err := c.completePattern(); err != nil {
		return err
	}
	c.Layers = len(c.Pattern)
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := positive("layer_norm_epsilon", c.NormEps); err != nil {
		return err
	}
	if !strings.ContainsRune(string(c.Pattern), expertsLetter) {
		return nil
	}
	if c.ExpertSize <= 0 || c.SharedExperts > 0 && c.SharedExpertSize <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d and moe_shared_expert_intermediate_size %d, and both must be positive", c.ExpertSize, c.SharedExpertSize)
	}
	if c.Groups > 1 && (c.Experts%c.Groups != 0 || c.ChosenGroups < 1 || c.ChosenGroups > c.Groups) {
		return fault.New(fault.ModelLoad, "config.json: topk_group is %d of n_group %d; accepted: 1 to n_group, which divides n_routed_experts, %d", c.ChosenGroups, c.Groups, c.Experts)
	}
	return checkExperts("n_routed_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
}

func (c *nemotronHConfig) completePattern() error {
	names := c.BlockTypes
	if names == nil {
		names = c.LayerTypes
	}
	if c.Pattern == "" {
		for _, name := range names {
			letter, known := layerLetters[name]
			if !known {
				return fault.New(fault.ModelLoad, "config.json: layers_block_type has %q; accepted: attention, conv, full_attention, linear_attention, mamba, mlp, moe", name)
			}
			c.Pattern += layerPattern(letter)
		}
	}
	for _, letter := range c.Pattern {
		switch letter {
		case mambaLetter, attentionLetter, denseLetter, expertsLetter:
		default:
			return fault.New(fault.ModelLoad, "config.json: hybrid_override_pattern has %q; accepted: M, *, - and E", letter)
		}
	}
	if c.Pattern == "" {
		return fault.New(fault.ModelLoad, "config.json has neither hybrid_override_pattern nor layers_block_type")
	}
	return nil
}

func newNemotronH(b *nn.Builder) (Model, error) {
	c := nemotronHConfig{StepLimit: stepLimit{0, math.Inf(1)}, WeightScale: 1}
	if err := c.read(b); err != nil {
		return nil, err
	}
	size := mamba2Size{heads: c.MambaHeads, headDim: c.MambaHeadDim, groups: c.MambaGroups, state: c.StateSize, kernel: c.Kernel, steps: c.StepLimit}
	if strings.ContainsRune(string(c.Pattern), mambaLetter) {
		if err := size.complete("mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel"); err != nil {
			return nil, err
		}
	}
	b.Ignore(func(name string) bool { return strings.HasPrefix(name, "mtp.") })
	m := &decoder{embedding: b.Embedding("backbone.embeddings", c.VocabSize, c.HiddenSize)}
	for i, letter := range c.Pattern {
		path := fmt.Sprintf("backbone.layers.%d", i)
		norm, mixer := b.RMSNorm(path+".norm", c.HiddenSize, c.NormEps), path+".mixer"
		own := &mixerOnly{norm: norm}
		switch letter {
		case denseLetter:
			m.blocks = append(m.blocks, &mlpOnly{norm: norm, mlp: c.mlp(b, mixer, c.IntermediateSize)})
			continue
		case expertsLetter:
			m.blocks = append(m.blocks, &mlpOnly{norm: norm, mlp: c.experts(b, mixer)})
			continue
		case attentionLetter:
			own.mixer = b.AttentionOf(mixer, []string{"q_proj", "k_proj", "v_proj"}, "o_proj", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, nil)
		case mambaLetter:
			gated := &groupNorm{weight: b.Parameter(mixer+".norm.weight", size.inner()), groups: size.groups, plain: nn.PlainRMSNorm(c.NormEps)}
			own.mixer = size.build(b, mixer, c.HiddenSize, gated)
		}
		m.blocks = append(m.blocks, &cached{own, len(m.caches)})
		m.caches = append(m.caches, cache.Layer{Recurrent: letter == mambaLetter})
	}
	m.norm = b.RMSNorm("backbone.norm_f", c.HiddenSize, c.NormEps)
	m.output(b, false, "lm_head", c.HiddenSize, c.VocabSize)
	return m, b.Err()
}

func (c *nemotronHConfig) mlp(b *nn.Builder, path string, size int) *nn.MLP {
	return b.MLP(path, "up_proj", "down_proj", c.HiddenSize, size, nn.SquaredReLU)
}

// experts builds the mixture at path. Experts have no gates.
func (c *nemotronHConfig) experts(b *nn.Builder, path string) feedForward {
	width := c.HiddenSize
	if c.LatentSize > 0 {
		width = c.LatentSize
	}
	stacked := func(converted, published string, in, out int) nn.ExpertLinear {
		if !b.Has(path + ".experts.0." + published + ".weight") {
			return b.Experts(path+".switch_mlp."+converted, c.Experts, in, out)
		}
		return b.SingleExperts(path+".experts", published, c.Experts, in, out)
	}
	router := &nn.CorrectedRouter{
		Gate:       b.Linear(path+".gate", c.HiddenSize, c.Experts),
		Correction: b.Vector(path+".gate.e_score_correction_bias", c.Experts),
		K:          c.ChosenExperts,
		Groups:     nn.Groups{Count: c.Groups, Chosen: c.ChosenGroups},
		Normalized: c.NormalizeWeights,
		Scale:      c.WeightScale,
	}
	m := &latentMoE{route: router.Route, experts: &nn.GatedExperts{
		Up:       stacked("fc1", "up_proj", width, c.ExpertSize),
		Down:     stacked("fc2", "down_proj", c.ExpertSize, width),
		Activate: func(s *mlx.Scope, _, up mlx.Array) mlx.Array { return nn.SquaredReLU(s, up) },
	}}
	if c.LatentSize > 0 {
		m.in = b.Linear(path+".fc1_latent_proj", c.HiddenSize, c.LatentSize)
		m.out = b.Linear(path+".fc2_latent_proj", c.LatentSize, c.HiddenSize)
	}
	if c.SharedExperts > 0 {
		m.shared = c.mlp(b, path+".shared_experts", c.SharedExpertSize)
	}
	return m
}

// latentMoE is a mixture of experts that may be smaller than the hidden states.
type latentMoE struct {
	route   nn.Router
	experts *nn.GatedExperts
	in, out nn.Linear   // nil: experts take hidden states
	shared  feedForward // nil: none
}

// Forward implements feedForward.
func (m *latentMoE) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	indices, weights := m.route(s, x)
	y := x
	if m.in != nil {
		y = m.in.Forward(s, x)
	}
	y = nn.WeightedSum(s, m.experts.Forward(s, y, indices), weights)
	if m.out != nil {
		y = m.out.Forward(s, y)
	}
	if m.shared != nil {
		y = s.Add(y, m.shared.Forward(s, x))
	}
	return y
}

// groupNorm is a root-mean-square normalisation of each of some groups of the last axis.
type groupNorm struct {
	weight *mlx.Ref // [size]
	groups int
	plain  *nn.RMSNorm
}

// Forward implements nn.Norm.
func (n *groupNorm) Forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	shape := x.Shape()
	last := len(shape) - 1
	grouped := append(append([]int{}, shape[:last]...), n.groups, shape[last]/n.groups)
	return s.Multiply(n.weight.Array(), s.Reshape(n.plain.Forward(s, s.Reshape(x, grouped...)), shape...))
}
