package models

import (
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// block is one layer of a decoder, with its residual connections.
type block interface {
	// Forward takes and returns [1, T, hidden]. layer is the number of its cache.
	Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array
}

// decoder is what nearly all families are: an embedding, a stack of blocks, a normalisation and
// an output head.
type decoder struct {
	embedding *nn.Embedding
	blocks    []block
	caches    []cache.Layer // nil: every block remembers everything
	norm      nn.Norm
	head      nn.Linear

	embeddingScale float64 // 0: 1
	logitScale     float64 // 0: 1
	logitCap       float64 // logits become cap * tanh(logit / cap); 0: none
}

// Hidden implements Model.
func (d *decoder) Hidden(c *nn.Context, tokens mlx.Array) mlx.Array {
	x := d.embedding.Forward(c.Scope, tokens)
	if d.embeddingScale != 0 && c.Err() == nil {
		x = c.Multiply(x, c.Scalar(d.embeddingScale, x.DType()))
	}
	for i, b := range d.blocks {
		x = b.Forward(c, x, i)
	}
	return d.norm.Forward(c.Scope, x)
}

// Logits implements Model.
func (d *decoder) Logits(s *mlx.Scope, hidden mlx.Array) mlx.Array {
	x := d.head.Forward(s, hidden)
	if s.Err() != nil {
		return mlx.Array{}
	}
	if d.logitScale != 0 {
		x = s.Multiply(x, s.Scalar(d.logitScale, x.DType()))
	}
	if d.logitCap != 0 {
		limit := s.Scalar(d.logitCap, x.DType())
		x = s.Multiply(s.Tanh(s.Divide(x, limit)), limit)
	}
	return x
}

// Caches implements Model.
func (d *decoder) Caches() []cache.Layer {
	if d.caches != nil {
		return d.caches
	}
	return make([]cache.Layer, len(d.blocks))
}

// VocabSize implements Model.
func (d *decoder) VocabSize() int { return d.embedding.VocabSize() }

// output gives d its head: the embedding's matrix if tied, else the one at path.
func (d *decoder) output(b *nn.Builder, tied bool, path string, hidden, vocab int) {
	if !tied {
		d.head = b.Linear(path, hidden, vocab)
		return
	}
	b.Ignore(func(name string) bool { return strings.HasPrefix(name, path+".") })
	if d.embedding != nil {
		d.head = d.embedding.AsLinear()
	}
}

// preNorm is the usual block: x + attention(norm(x)), then x + mlp(norm(x)).
type preNorm struct {
	attentionNorm, mlpNorm nn.Norm
	attention              *nn.Attention
	mlp                    feedForward
}

// feedForward is the part of a block that sees each token alone, [1, T, hidden].
type feedForward interface {
	Forward(s *mlx.Scope, x mlx.Array) mlx.Array
}

// Forward implements block.
func (l *preNorm) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	x = c.Add(x, l.attention.Forward(c, l.attentionNorm.Forward(c.Scope, x), layer))
	return c.Add(x, l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x)))
}
