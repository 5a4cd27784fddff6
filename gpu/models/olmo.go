package models

import (
	"cmp"
	"fmt"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// olmoConfig is the part of config.json that OLMo reads, in its authors' words.
type olmoConfig struct {
	Hidden   int  `json:"d_model"`
	Layers   int  `json:"n_layers"`
	Heads    int  `json:"n_heads"`
	GateUp   int  `json:"mlp_hidden_size"` // of both projections; 0: MLPRatio * Hidden
	MLPRatio int  `json:"mlp_ratio"`
	Rows     int  `json:"embedding_size"` // of the embedding, at least the vocabulary
	Tied     bool `json:"weight_tying"`
}

func (c *olmoConfig) complete() error {
	c.GateUp = cmp.Or(c.GateUp, c.MLPRatio*c.Hidden)
	for _, field := range []struct {
		name  string
		value int
	}{
		{"d_model", c.Hidden}, {"n_layers", c.Layers}, {"n_heads", c.Heads}, {"mlp_hidden_size", c.GateUp}, {"embedding_size", c.Rows},
	} {
		if field.value <= 0 {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive; olmo is read as its authors store it, not as transformers does", field.name, field.value)
		}
	}
	if c.Hidden%c.Heads != 0 || c.GateUp%2 != 0 {
		return fault.New(fault.ModelLoad, "config.json: d_model is %d for %d n_heads and mlp_hidden_size %d; accepted: a multiple of n_heads, and an even number", c.Hidden, c.Heads, c.GateUp)
	}
	return nil
}

// newOlmo is the first OLMo: LayerNorm without weights, and fused projections.
func newOlmo(b *nn.Builder) (Model, error) {
	c := olmoConfig{MLPRatio: 4}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	const root = "model.transformer."
	headDim := c.Hidden / c.Heads
	rope, norm := b.RoPE(headDim), nn.PlainLayerNorm(1e-5)
	m := &decoder{embedding: b.Embedding(root+"wte", c.Rows, c.Hidden), norm: norm}
	for i := range c.Layers {
		path := fmt.Sprintf("%sblocks.%d", root, i)
		b.ReorderRows(path+".ff_proj", halvesSwapped(c.GateUp)) // it has the gate last
		m.blocks = append(m.blocks, &preNorm{
			attentionNorm: norm,
			attention:     b.AttentionOf(path, []string{"att_proj"}, "attn_out", c.Hidden, c.Heads, c.Heads, headDim, rope),
			mlpNorm:       norm,
			mlp:           b.SwiGLUOf(path, []string{"ff_proj"}, "ff_out", c.Hidden, c.GateUp/2),
		})
	}
	m.output(b, c.Tied, root+"ff_out", c.Hidden, c.Rows)
	return m, b.Err()
}

func halvesSwapped(n int) []int {
	var order []int
	for i := range n {
		order = append(order, (i+n/2)%n)
	}
	return order
}
