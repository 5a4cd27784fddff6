package models

import (
	"slices"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gptOSSConfig is gpt-oss's.
type gptOSSConfig struct {
	llamaConfig
	Experts       int `json:"num_local_experts"`
	ChosenExperts int `json:"num_experts_per_tok"`
}

func (c *gptOSSConfig) complete() error {
	if c.LayerTypes == nil { // by turns
		for i := range c.Layers {
			c.LayerTypes = append(c.LayerTypes, []string{slidingAttention, fullAttention}[i%2])
		}
	}
	if err := c.llamaConfig.complete(); err != nil {
		return err
	}
	return checkExperts("num_local_experts", c.Experts, "num_experts_per_tok", c.ChosenExperts)
}

func newGPTOSS(b *nn.Builder) (Model, error) {
	c := gptOSSConfig{Experts: 128, ChosenExperts: 4}
	c.TieEmbeddings, c.HeadDim, c.SlidingWindow, c.RMSNormEps = new(false), 64, 128, 1e-5
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	rope := b.RoPEOr(c.HeadDim, 150000)
	return c.decoder(b, func(path string, _ int) block {
		b.RequireBiases(path+".self_attn", "q_proj", "k_proj", "v_proj", "o_proj")
		b.RequireBiases(path+".mlp", "router")
		l := c.layerWith(b, path, rope, &nn.MoE{
			Route:   nn.ChosenSoftmaxRouter(b.Linear(path+".mlp.router", c.HiddenSize, c.Experts), c.ChosenExperts, nn.TopK),
			Experts: c.experts(b, path+".mlp.experts"),
		})
		l.attention.Scores.Sinks = b.Parameter(path+".self_attn.sinks", c.Heads)
		return l
	}), b.Err()
}

func (c *gptOSSConfig) experts(b *nn.Builder, path string) *nn.GatedExperts {
	publishedExperts(b, path+".gate_up_proj")
	publishedExperts(b, path+".down_proj")
	var e *nn.GatedExperts
	if joined := path + ".gate_up_proj"; b.Has(joined + ".weight") {
		b.RequireBiases(path, "gate_up_proj", "down_proj")
		e = b.SplitGatedExperts(joined, nn.Interleaved, path+".down_proj", c.Experts, c.HiddenSize, c.IntermediateSize)
	} else {
		b.RequireBiases(path, "gate_proj", "up_proj", "down_proj")
		e = b.GatedExperts(path, c.Experts, c.HiddenSize, c.IntermediateSize)
	}
	e.Activate = clampedSwiGLU
	return e
}

// publishedExperts gives the arrays of the projection at path that OpenAI has published the names
// and shapes of MLX's: MXFP4 blocks of 32 numbers in 16 bytes are rows of uint32 as well.
func publishedExperts(b *nn.Builder, path string) {
	name := func(to string) func(a load.Array) load.Array {
		return func(a load.Array) load.Array {
			a.Name = path + to
			return a
		}
	}
	b.Redescribe(path+"_scales", name(".scales"))
	b.Redescribe(path+"_bias", name(".bias"))
	b.Redescribe(path+"_blocks", func(a load.Array) load.Array {
		last := len(a.Shape) - 1
		if a.DType != mlx.Uint8 || last < 1 || a.Shape[last] != 16 {
			b.Fail(fault.New(fault.ModelLoad, "tensor %q is %s %v, and must be uint8 blocks of 16", a.Name, a.DType, a.Shape))
			return a
		}
		a.DType = mlx.Uint32
		a.Shape = append(slices.Clone(a.Shape[:last-1]), a.Shape[last-1]*4)
		return name(".weight")(a)
	})
}

// The constants of gpt-oss's activation.
const (
	swigluLimit = 7
	swigluAlpha = 1.702
)

// clampedSwiGLU bounds both of its inputs, the gate from above only.
func clampedSwiGLU(s *mlx.Scope, gate, up mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	number := func(v float64) mlx.Array { return s.Scalar(v, gate.DType()) }
	gate = s.Minimum(gate, number(swigluLimit))
	up = s.Minimum(s.Maximum(up, number(-swigluLimit)), number(swigluLimit))
	gated := s.Multiply(gate, s.Sigmoid(s.Multiply(number(swigluAlpha), gate)))
	return s.Multiply(s.Add(up, number(1)), gated)
}
