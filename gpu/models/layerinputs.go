package models

import (
	"math"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// layerInputs is what each layer of Gemma 3n and 4 is told about the tokens beside the hidden
// state: an embedding for each layer, and a projection of the model's embedding.
type layerInputs struct {
	layers, size, hiddenSize int
	known                    int // greater tokens are told as token 0; 0: all have embeddings

	embedding      *nn.Embedding
	projection     nn.Linear
	projectionNorm nn.Norm

	pass mlx.Array // of the pass being computed, [1, T, layers, size]
}

// layerInputs builds inputs of so many elements a layer, with embeddings of the first vocab tokens.
func (c *llamaConfig) layerInputs(b *nn.Builder, size, vocab int) *layerInputs {
	p := &layerInputs{
		layers: c.Layers, size: size, hiddenSize: c.HiddenSize,
		embedding:      b.Embedding("model.embed_tokens_per_layer", vocab, c.Layers*size),
		projection:     b.Linear("model.per_layer_model_projection", c.HiddenSize, c.Layers*size),
		projectionNorm: b.RMSNorm("model.per_layer_projection_norm", size, c.RMSNormEps),
	}
	if vocab < c.VocabSize {
		p.known = vocab
	}
	return p
}

// prepare computes the inputs of all layers from a pass's tokens and their embeddings.
func (p *layerInputs) prepare(c *nn.Context, tokens, x mlx.Array) {
	byLayer := func(x mlx.Array) mlx.Array { return c.Reshape(x, 1, -1, p.layers, p.size) }
	if p.known > 0 {
		known := c.Less(tokens, c.Scalar(float64(p.known), mlx.Int32))
		tokens = c.Where(known, tokens, c.Scalar(0, mlx.Int32))
	}
	embedded := byLayer(times(c.Scope, p.embedding.Forward(c.Scope, tokens), math.Sqrt(float64(p.size))))
	projected := byLayer(times(c.Scope, p.projection.Forward(c.Scope, x), math.Pow(float64(p.hiddenSize), -0.5)))
	p.pass = times(c.Scope, c.Add(p.projectionNorm.Forward(c.Scope, projected), embedded), 1/math.Sqrt2)
}

// of is the input of a layer, [1, T, size].
func (p *layerInputs) of(s *mlx.Scope, layer int) mlx.Array {
	return s.Squeeze(s.SliceAxis(p.pass, 2, layer, layer+1), 2)
}

// toldTokens is how a layer uses its input: x, [1, T, hidden], gates it.
type toldTokens struct {
	inputs           *layerInputs
	gate, projection nn.Linear
	norm             nn.Norm
}

func (c *llamaConfig) toldTokens(b *nn.Builder, path string, inputs *layerInputs) *toldTokens {
	return &toldTokens{
		inputs:     inputs,
		gate:       b.Linear(path+".per_layer_input_gate", c.HiddenSize, inputs.size),
		projection: b.Linear(path+".per_layer_projection", inputs.size, c.HiddenSize),
		norm:       b.RMSNorm(path+".post_per_layer_input_norm", c.HiddenSize, c.RMSNormEps),
	}
}

func (l *toldTokens) forward(s *mlx.Scope, x mlx.Array, layer int) mlx.Array {
	gate := nn.ApproximateGELU(s, l.gate.Forward(s, x))
	return l.norm.Forward(s, l.projection.Forward(s, s.Multiply(gate, l.inputs.of(s, layer))))
}

// times is x multiplied by a number in its dtype.
func times(s *mlx.Scope, x mlx.Array, factor float64) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.Multiply(x, s.Scalar(factor, x.DType()))
}
