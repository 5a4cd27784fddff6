package models

import (
	"slices"
	"strings"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// ernie45MoEConfig is ERNIE 4.5's with a mixture of experts in some layers.
type ernie45MoEConfig struct {
	llamaConfig
	Experts       int                  `json:"moe_num_experts"`
	ChosenExperts int                  `json:"moe_k"`
	ExpertSize    int                  `json:"moe_intermediate_size"` // 0: IntermediateSize
	SharedExperts int                  `json:"moe_num_shared_experts"`
	FirstSparse   nn.NumberOrList[int] `json:"moe_layer_start_index"` // a list: for each modality
	LastSparse    nn.NumberOrList[int] `json:"moe_layer_end_index"`   // nil: the last layer
	SparseStep    int                  `json:"moe_layer_interval"`
	Scoring       string               `json:"moe_gate_act"`
}

func (c *ernie45MoEConfig) complete() error {
	if err := c.llamaConfig.complete(); err != nil {
		return err
	}
	if c.ExpertSize == 0 {
		c.ExpertSize = c.IntermediateSize
	}
	if len(c.FirstSparse) == 0 {
		c.FirstSparse = nn.NumberOrList[int]{0}
	}
	if len(c.LastSparse) == 0 {
		c.LastSparse = nn.NumberOrList[int]{c.Layers - 1}
	}
	if c.ExpertSize < 0 || c.SparseStep <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d and moe_layer_interval %d, and both must be positive", c.ExpertSize, c.SparseStep)
	}
	if c.Scoring != "softmax" && c.Scoring != "sigmoid" {
		return fault.New(fault.ModelLoad, "config.json: moe_gate_act is %q; accepted: softmax, sigmoid", c.Scoring)
	}
	return checkExperts("moe_num_experts", c.Experts, "moe_k", c.ChosenExperts)
}

func newERNIE45MoE(b *nn.Builder) (Model, error) {
	c := ernie45MoEConfig{ChosenExperts: 1, SparseStep: 1, Scoring: "softmax"}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	b.Ignore(func(name string) bool {
		return strings.Contains(name, "mtp_") || strings.Contains(name, "e_score_correction_bias")
	})
	options := b.RoPEOptions(c.HeadDim)
	options.Traditional = true
	rope := b.RoPEOf(options)
	return c.decoder(b, func(path string, i int) block {
		return c.layerWith(b, path, rope, c.mlp(b, path+".mlp", i))
	}), b.Err()
}

func (c *ernie45MoEConfig) mlp(b *nn.Builder, path string, layer int) feedForward {
	if (layer+1)%c.SparseStep != 0 || layer < slices.Min(c.FirstSparse) || layer > slices.Max(c.LastSparse) {
		return b.SwiGLU(path, c.HiddenSize, c.IntermediateSize)
	}
	m := &nn.MoE{
		Route:   ernieRouter(b.Linear(path+".gate", c.HiddenSize, c.Experts), c.ChosenExperts, c.Scoring == "sigmoid"),
		Experts: b.GatedExpertsNamed(expertsBelow(path), c.Experts, c.HiddenSize, c.ExpertSize),
	}
	if c.SharedExperts > 0 {
		m.Shared = b.SwiGLU(path+".shared_experts", c.HiddenSize, c.SharedExperts*c.ExpertSize)
	}
	return m
}

// ernieRouter weighs a token's k best experts by their softmax, or sigmoids, normalised, all in
// float32.
func ernieRouter(gate nn.Linear, k int, sigmoid bool) nn.Router {
	return func(s *mlx.Scope, x mlx.Array) (indices, weights mlx.Array) {
		scores := s.AsType(gate.Forward(s, x), mlx.Float32)
		if sigmoid {
			scores = s.Sigmoid(scores)
		} else {
			scores = s.PreciseSoftmax(scores, -1)
		}
		indices = nn.TopKNegated(s, scores, k)
		weights = s.TakeAlongAxis(scores, indices, -1)
		least := s.Scalar(1e-12, mlx.Float32)
		return indices, s.Divide(weights, s.Maximum(s.Sum(weights, -1, true), least))
	}
}
