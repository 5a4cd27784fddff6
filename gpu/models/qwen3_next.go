package models

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// qwen3NextConfig is Qwen 3 Next's: gated delta nets with an attention now and then, and mixtures
// of experts.
type qwen3NextConfig struct {
	dimensions
	gatedDeltaSize
	RMSNormEps        float32  `json:"rms_norm_eps"`
	TieEmbeddings     *bool    `json:"tie_word_embeddings"`     // nil: if there is no head
	AttentionInterval int      `json:"full_attention_interval"` // every so many layers have attention
	LayerTypes        []string `json:"layer_types"`             // nil, or what the interval says
	RotaryPart        float64  `json:"partial_rotary_factor"`
	DefaultTheta      float64  `json:"-"`                // 0: 10000
	OutputGate        *bool    `json:"attn_output_gate"` // nil: true

	Experts          int   `json:"num_experts"`
	ChosenExperts    int   `json:"num_experts_per_tok"`
	ExpertSize       int   `json:"moe_intermediate_size"`
	SharedExpertSize int   `json:"shared_expert_intermediate_size"`
	SparseStep       int   `json:"decoder_sparse_step"` // every so many layers have experts
	DenseLayers      []int `json:"mlp_only_layers"`     // have none
	NormalizeWeights bool  `json:"norm_topk_prob"`
}

const linearAttention = "linear_attention"

// read fills c, in which defaults are set, from the configuration.
func (c *qwen3NextConfig) read(b *nn.Builder) error {
	if err := b.Config.Decode(c); err != nil {
		return err
	}
	if err := c.dimensions.complete(); err != nil {
		return err
	}
	if err := c.gatedDeltaSize.complete(); err != nil {
		return err
	}
	if err := positive("rms_norm_eps", c.RMSNormEps); err != nil {
		return err
	}
	if c.OutputGate != nil && !*c.OutputGate {
		return fault.New(fault.ModelLoad, "config.json: attn_output_gate is false; accepted: true")
	}
	if err := c.checkLayers(); err != nil || c.Experts == 0 {
		return err
	}
	if c.ExpertSize <= 0 || c.SharedExpertSize <= 0 || c.SparseStep <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d, shared_expert_intermediate_size %d and decoder_sparse_step %d, and all must be positive", c.ExpertSize, c.SharedExpertSize, c.SparseStep)
	}
	return checkExperts("num_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
}

func (c *qwen3NextConfig) checkLayers() error {
	if c.AttentionInterval < 1 {
		return fault.New(fault.ModelLoad, "config.json: full_attention_interval is %d, and must be positive", c.AttentionInterval)
	}
	if c.LayerTypes == nil {
		return nil
	}
	if len(c.LayerTypes) != c.Layers {
		return fault.New(fault.ModelLoad, "config.json: layer_types has %d entries for %d layers", len(c.LayerTypes), c.Layers)
	}
	for i, kind := range c.LayerTypes {
		if want := c.kind(i); kind != want {
			return fault.New(fault.ModelLoad, "config.json: layer_types has %q at %d; accepted: %q, as full_attention_interval %d says", kind, i, want, c.AttentionInterval)
		}
	}
	return nil
}

// kind is the type of a layer, in the words of layer_types.
func (c *qwen3NextConfig) kind(layer int) string {
	if (layer+1)%c.AttentionInterval == 0 {
		return fullAttention
	}
	return linearAttention
}

func newQwen3Next(b *nn.Builder) (Model, error) {
	c := qwen3NextConfig{AttentionInterval: 4, SparseStep: 1, RotaryPart: 1}
	if err := c.read(b); err != nil {
		return nil, err
	}
	// Projections are published head by head; the convolution has all queries first.
	order, ba := c.headOrder()
	return c.build(b, func(path string) nn.Linear {
		b.ReorderRows(path+".in_proj_qkvz", order)
		b.ReorderRows(path+".in_proj_ba", ba)
		return b.Parallel([]string{path + ".in_proj_qkvz", path + ".in_proj_ba"}, c.HiddenSize, len(order), len(ba))
	})
}

// headOrder says where the rows of queries, keys, values and gates are in a projection that has
// those of a key head together; and those of strengths and decays.
func (c *qwen3NextConfig) headOrder() (qkvz, ba []int) {
	group := c.gatedDeltaSize.Heads / c.KeyHeads
	values := group * c.ValueDim
	gather := func(order []int, stride, from, count int) []int {
		for head := range c.KeyHeads {
			for i := range count {
				order = append(order, head*stride+from+i)
			}
		}
		return order
	}
	stride := 2*c.KeyDim + 2*values
	qkvz = gather(qkvz, stride, 0, c.KeyDim)
	qkvz = gather(qkvz, stride, c.KeyDim, c.KeyDim)
	qkvz = gather(qkvz, stride, 2*c.KeyDim, values)
	qkvz = gather(qkvz, stride, 2*c.KeyDim+values, values)
	return qkvz, gather(gather(ba, 2*group, 0, group), 2*group, group, group)
}

// build makes the model. in builds the projection of the gated delta net at path.
func (c *qwen3NextConfig) build(b *nn.Builder, in func(path string) nn.Linear) (Model, error) {
	rope, err := partialRoPE(b, c.HeadDim, c.RotaryPart)
	if err != nil {
		return nil, err
	}
	rope.Theta = cmp.Or(rope.Theta, c.DefaultTheta)
	b.Ignore(func(name string) bool { return strings.Contains(name, "mtp.") })
	norm := b.RMSNorm
	if c.published(b) { // as the difference to 1
		norm = b.OffsetRMSNorm
	}
	rule, rotary := b.DeltaRule(), b.RoPEOf(rope)
	tied := !b.Has("lm_head.weight")
	if c.TieEmbeddings != nil {
		tied = *c.TieEmbeddings
	}
	m := c.dimensions.decoder(b, tied, norm("model.norm", c.HiddenSize, c.RMSNormEps), func(path string, i int) block {
		l := &hybrid{
			mixerNorm: norm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
			mlpNorm:   norm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
			mlp:       c.mlp(b, path+".mlp", i),
		}
		if c.kind(i) == fullAttention {
			l.mixer = c.attention(b, path+".self_attn", rotary, norm)
		} else {
			net := path + ".linear_attn"
			l.mixer = c.gatedDeltaSize.build(b, net, in(net), c.HiddenSize, c.RMSNormEps, rule)
		}
		return l
	})
	for i := range c.Layers {
		m.caches = append(m.caches, cache.Layer{Recurrent: c.kind(i) == linearAttention})
	}
	return m, b.Err()
}

// published reports whether the checkpoint is as it was published, not converted by mlx-lm.
func (c *qwen3NextConfig) published(b *nn.Builder) bool {
	return b.HasPublishedConv("model.layers.0.linear_attn.conv1d")
}

func (c *qwen3NextConfig) mlp(b *nn.Builder, path string, layer int) feedForward {
	if c.Experts == 0 || slices.Contains(c.DenseLayers, layer) || (layer+1)%c.SparseStep != 0 {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	return &nn.MoE{
		Route:   nn.SoftmaxRouter(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.NormalizeWeights, nn.TopK),
		Experts: c.experts(b, path),
		Shared: &gatedShared{
			gate: b.Linear(path+".shared_expert_gate", c.HiddenSize, 1),
			mlp:  b.SwiGLU(path+".shared_expert", c.HiddenSize, c.SharedExpertSize),
		},
	}
}

// experts builds the experts of the layer at path, of which some are published as one array for
// gate and up projections.
func (c *qwen3NextConfig) experts(b *nn.Builder, path string) *nn.GatedExperts {
	names := expertsBelow(path)
	joined := names.Stacked + ".gate_up_proj"
	if !b.Has(joined + ".weight") {
		return b.GatedExpertsNamed(names, c.Experts, c.HiddenSize, c.ExpertSize)
	}
	return b.SplitGatedExperts(joined, nn.Halves, names.Stacked+".down_proj", c.Experts, c.HiddenSize, c.ExpertSize)
}

// gatedAttention is attention whose queries come with a gate for the output of their head.
type gatedAttention struct {
	heads, kvHeads, headDim int

	qkv, out     nn.Linear // qkv to heads of a query and a gate | k heads | v heads
	qNorm, kNorm nn.Norm
	rope         *nn.RoPE
	scores       nn.Scores
}

func (c *qwen3NextConfig) attention(b *nn.Builder, path string, rope *nn.RoPE, norm func(path string, size int, eps float32) *nn.RMSNorm) *gatedAttention {
	heads, queries, keys := c.dimensions.Heads, c.dimensions.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return &gatedAttention{
		heads: heads, kvHeads: c.KVHeads, headDim: c.HeadDim,
		qkv:    b.Parallel([]string{path + ".q_proj", path + ".k_proj", path + ".v_proj"}, c.HiddenSize, 2*queries, keys, keys),
		qNorm:  norm(path+".q_norm", c.HeadDim, c.RMSNormEps),
		kNorm:  norm(path+".k_norm", c.HeadDim, c.RMSNormEps),
		out:    b.Linear(path+".o_proj", queries, c.HiddenSize),
		rope:   rope,
		scores: nn.Scores{Scale: float32(math.Pow(float64(c.HeadDim), -0.5))},
	}
}

// Forward implements mixer.
func (a *gatedAttention) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	if c.Err() != nil {
		return mlx.Array{}
	}
	tokens, queries, keys := x.Dim(1), a.heads*a.headDim, a.kvHeads*a.headDim
	all := a.qkv.Forward(c.Scope, x)
	heads := func(from, count, width int) mlx.Array {
		return c.Reshape(c.SliceAxis(all, -1, from, from+count*width), tokens, count, width)
	}
	gated := heads(0, a.heads, 2*a.headDim)
	q, gate := c.SliceAxis(gated, -1, 0, a.headDim), c.SliceAxis(gated, -1, a.headDim, 2*a.headDim)
	k, v := heads(2*queries, a.kvHeads, a.headDim), heads(2*queries+keys, a.kvHeads, a.headDim)
	q, k = a.qNorm.Forward(c.Scope, q), a.kNorm.Forward(c.Scope, k)
	y := c.Attend(layer, c.Rotate(a.rope, c.Segment(q)), c.Rotate(a.rope, c.Segment(k)), c.Segment(v), a.scores)
	return a.out.Forward(c.Scope, c.Multiply(y, c.Sigmoid(c.Reshape(gate, 1, tokens, queries))))
}
