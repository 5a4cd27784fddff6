package models

import (
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// ministral3Config is the part of config.json that Ministral 3 reads.
type ministral3Config struct {
	llamaConfig
	RoPE struct {
		QueryGrowth    *float64 `json:"llama_4_scaling_beta"`
		OriginalLength float64  `json:"original_max_position_embeddings"`
	} `json:"rope_parameters"`
}

func (c *ministral3Config) complete() error {
	if c.RoPE.QueryGrowth == nil || *c.RoPE.QueryGrowth < 0 {
		return fault.New(fault.ModelLoad, "config.json: rope_parameters has no llama_4_scaling_beta that is not negative")
	}
	if c.RoPE.OriginalLength <= 0 {
		return fault.New(fault.ModelLoad, "config.json: rope_parameters: original_max_position_embeddings is %g, and must be positive", c.RoPE.OriginalLength)
	}
	return c.llamaConfig.complete()
}

func newMinistral3(b *nn.Builder) (Model, error) { return ministral3(b, true) }

// ministral3 builds the model; tied is what it means that tie_word_embeddings is absent.
func ministral3(b *nn.Builder, tied bool) (Model, error) {
	c := ministral3Config{llamaConfig: llamaConfig{TieEmbeddings: &tied}}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	growth := &queryGrowth{beta: *c.RoPE.QueryGrowth, original: c.RoPE.OriginalLength}
	rope := b.RoPE(c.HeadDim)
	m := c.decoder(b, func(path string, _ int) block {
		layer := c.layer(b, path, rope)
		layer.attention.Finish = growth.finish
		return layer
	})
	m.prepare = growth.prepare
	return m, b.Err()
}

// queryGrowth multiplies queries by 1 + beta * ln(1 + ⌊position / original⌋), so that attention
// stays as sharp beyond the length that the model was first trained on.
type queryGrowth struct {
	beta, original float64

	pass nn.Segmented // of the pass being computed, a factor for each token
}

func (g *queryGrowth) prepare(c *nn.Context, _, x mlx.Array) {
	number := func(v float64) mlx.Array { return c.Scalar(v, mlx.Float32) }
	turns := c.Floor(c.Divide(c.AsType(c.Pass.TokenPositions(), mlx.Float32), number(g.original)))
	factors := c.Add(number(1), c.Multiply(number(g.beta), c.Log(c.Add(number(1), turns))))
	g.pass = c.Segment(c.Reshape(c.AsType(factors, x.DType()), -1, 1, 1))
}

// finish is a Finish of attention.
func (g *queryGrowth) finish(c *nn.Context, queries, keys nn.Segmented) (nn.Segmented, nn.Segmented) {
	grown := make(nn.Segmented, len(queries))
	for i, q := range queries {
		grown[i] = c.Multiply(q, g.pass[i])
	}
	return grown, keys
}
