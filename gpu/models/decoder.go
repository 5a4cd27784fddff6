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

	// prepare, if set, computes what the blocks share in a pass from its tokens and the scaled
	// embeddings, [1, T, hidden].
	prepare func(c *nn.Context, tokens, x mlx.Array)

	// expand and collapse, if set, make of the embeddings what the blocks pass on, and of that what
	// is normalised at last.
	expand, collapse func(c *nn.Context, x mlx.Array) mlx.Array

	embeddingScale float64 // 0: 1
	logitScale     float64 // 0: 1
	logitDivisor   float64 // 0: 1
	logitCap       float64 // logits become cap * tanh(logit / cap); 0: none
}

// Hidden implements Model.
func (d *decoder) Hidden(c *nn.Context, tokens mlx.Array) mlx.Array {
	x := d.embedding.Forward(c.Scope, tokens)
	if d.embeddingScale != 0 && c.Err() == nil {
		x = c.Multiply(x, c.Scalar(d.embeddingScale, x.DType()))
	}
	if d.prepare != nil && c.Err() == nil {
		d.prepare(c, tokens, x)
	}
	if d.expand != nil {
		x = d.expand(c, x)
	}
	for i, b := range d.blocks {
		x = b.Forward(c, x, i)
	}
	if d.collapse != nil {
		x = d.collapse(c, x)
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
	if d.logitDivisor != 0 {
		x = s.Divide(x, s.Scalar(d.logitDivisor, x.DType()))
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

	residualScale float64 // of what attention and mlp add; 0: 1
}

// feedForward is the part of a block that sees each token alone, [1, T, hidden].
type feedForward interface {
	Forward(s *mlx.Scope, x mlx.Array) mlx.Array
}

// Forward implements block.
func (l *preNorm) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	x = addScaled(c, x, l.attention.Forward(c, l.attentionNorm.Forward(c.Scope, x), layer), l.residualScale)
	return addScaled(c, x, l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, x)), l.residualScale)
}

// addScaled is x + scale * y. A scale of 0 means 1.
func addScaled(c *nn.Context, x, y mlx.Array, scale float64) mlx.Array {
	if scale != 0 && c.Err() == nil {
		y = c.Multiply(y, c.Scalar(scale, y.DType()))
	}
	return c.Add(x, y)
}

// postNorm is a block that normalises what it adds: x + norm(attention(x)), then x + norm(mlp(x)).
type postNorm struct {
	attention              *nn.Attention
	mlp                    feedForward
	attentionNorm, mlpNorm nn.Norm
}

// Forward implements block.
func (l *postNorm) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	x = c.Add(x, l.attentionNorm.Forward(c.Scope, l.attention.Forward(c, x, layer)))
	return c.Add(x, l.mlpNorm.Forward(c.Scope, l.mlp.Forward(c.Scope, x)))
}
