package models

import (
	"fmt"

	"mlx-worker/gpu/nn"
)

// newInternLM2 is InternLM 2 and 2.5: llama under other names, whose queries, keys and values are
// one projection, head group by head group.
func newInternLM2(b *nn.Builder) (Model, error) {
	c := llamaConfig{TieEmbeddings: new(false)}
	if err := c.read(b); err != nil {
		return nil, err
	}
	b.Ignore(isRotaryBuffer)
	m := &decoder{embedding: b.Embedding("model.tok_embeddings", c.VocabSize, c.HiddenSize)}
	rope := b.RoPE(c.HeadDim)
	order := groupedRows(c.Heads, c.KVHeads, c.HeadDim)
	for i := range c.Layers {
		path := fmt.Sprintf("model.layers.%d", i)
		b.ReorderRows(path+".attention.wqkv", order)
		m.blocks = append(m.blocks, &preNorm{
			attentionNorm: b.RMSNorm(path+".attention_norm", c.HiddenSize, c.RMSNormEps),
			attention:     b.AttentionOf(path+".attention", []string{"wqkv"}, "wo", c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, rope),
			mlpNorm:       b.RMSNorm(path+".ffn_norm", c.HiddenSize, c.RMSNormEps),
			mlp:           b.SwiGLUOf(path+".feed_forward", []string{"w1", "w3"}, "w2", c.HiddenSize, c.IntermediateSize),
		})
	}
	m.norm = b.RMSNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.output(b, c.tied(), "output", c.HiddenSize, c.VocabSize)
	return m, b.Err()
}

// groupedRows says where the rows of q heads | k heads | v heads are in a matrix that holds, for
// each key-value head, the query heads that share it, then its keys, then its values.
func groupedRows(heads, kvHeads, headDim int) []int {
	shared := heads / kvHeads
	var rows []int
	head := func(group, member int) {
		for i := range headDim {
			rows = append(rows, (group*(shared+2)+member)*headDim+i)
		}
	}
	for h := range heads {
		head(h/shared, h%shared)
	}
	for _, member := range []int{shared, shared + 1} {
		for group := range kvHeads {
			head(group, member)
		}
	}
	return rows
}

// newInternLM3 is InternLM 3: llama whose head is not tied unless the configuration says so.
func newInternLM3(b *nn.Builder) (Model, error) {
	c := llamaConfig{TieEmbeddings: new(false)}
	if err := c.read(b); err != nil {
		return nil, err
	}
	rope := b.RoPE(c.HeadDim)
	return c.decoder(b, func(path string, _ int) block { return c.layer(b, path, rope) }), b.Err()
}
