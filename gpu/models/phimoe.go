package models

import (
	"encoding/json"
	"math"
	"strconv"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// phiMoEConfig is Phi 3.5 MoE's: llama's with layer normalisation, biases and a mixture of experts
// in every layer.
type phiMoEConfig struct {
	llamaConfig
	Experts        int     `json:"num_local_experts"`
	ChosenExperts  int     `json:"num_experts_per_tok"`
	Jitter         float64 `json:"router_jitter_noise"`
	OriginalLength int     `json:"original_max_position_embeddings"`
}

func newPhiMoE(b *nn.Builder) (Model, error) {
	c := phiMoEConfig{Experts: 16, ChosenExperts: 2, Jitter: 0.01, OriginalLength: 4096}
	c.TieEmbeddings, c.RMSNormEps = new(false), 1e-6
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return nil, err
	}
	rope := c.rope(b)
	norm := func(path string) nn.Norm { return b.LayerNorm(path, c.HiddenSize, c.RMSNormEps) }
	m := c.dimensions.decoder(b, false, norm("model.norm"), func(path string, _ int) block {
		b.RequireBiases(path, "input_layernorm", "post_attention_layernorm")
		b.RequireBiases(path+".self_attn", "q_proj", "k_proj", "v_proj", "o_proj")
		return &preNorm{
			attentionNorm: norm(path + ".input_layernorm"),
			attention:     c.attention(b, path, rope),
			mlpNorm:       norm(path + ".post_attention_layernorm"),
			mlp:           c.experts(b, path+".block_sparse_moe"),
		}
	})
	m.caches = c.windows()
	return m, b.Err()
}

// rope builds the rotary embedding. The length that it was trained on is beside rope_scaling.
func (c *phiMoEConfig) rope(b *nn.Builder) *nn.RoPE {
	options := b.RoPEOptions(c.HeadDim)
	if options.Scaling != nil {
		scaling := *options.Scaling
		scaling.OriginalMaxLength = json.Number(strconv.Itoa(c.OriginalLength))
		options.Scaling = &scaling
	}
	return b.RoPEOf(options)
}

func (c *phiMoEConfig) experts(b *nn.Builder, path string) feedForward {
	return &nn.MoE{
		Route:   sparseMixer(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.Jitter),
		Experts: b.GatedExpertsNamed(numberedExperts(path), c.Experts, c.HiddenSize, c.IntermediateSize),
	}
}

// sparseMixer chooses one expert after the other. Each weighs what its softmax is among the
// experts that are not chosen yet and nearly as good.
func sparseMixer(gate nn.Linear, k int, jitter float64) nn.Router {
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		logits := gate.Forward(s, x)
		if s.Err() != nil {
			return mlx.Array{}, mlx.Array{}
		}
		hidden, near := s.Scalar(math.Inf(-1), logits.DType()), s.Scalar(2*jitter, logits.DType())
		left := logits
		var chosen, scores []mlx.Array
		for range k {
			best, index := s.Max(left, -1, true), s.ArgMax(left, -1, true)
			distance := s.Divide(s.Subtract(best, logits), s.Maximum(s.Abs(logits), best))
			band := s.PreciseSoftmax(s.Where(s.Less(near, distance), hidden, left), -1)
			chosen, scores = append(chosen, index), append(scores, s.TakeAlongAxis(band, index, -1))
			left = s.PutAlongAxis(left, index, hidden, -1)
		}
		return s.Concatenate(-1, chosen...), s.Concatenate(-1, scores...)
	}
}
