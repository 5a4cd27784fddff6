package models

import (
	"math"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// gemma3nBlock is a layer of Gemma 3n: it predicts all states from the active one, computes the
// active one, and corrects the others by what it was off.
type gemma3nBlock struct {
	updates                       *alternatingUpdates
	attentionNorm, afterAttention nn.Norm
	mlpNorm, afterMLP             nn.Norm
	attention                     *unscaledAttention
	laurel                        *laurel
	mlp                           feedForward
	told                          *toldTokens
}

func (c *gemma3nConfig) block(b *nn.Builder, path string, layer int, rope *nn.RoPE, inputs *layerInputs) block {
	norm := func(name string) nn.Norm { return b.RMSNorm(path+"."+name, c.HiddenSize, c.RMSNormEps) }
	activation := nn.ApproximateGELU
	if c.Sparsity != nil && c.Sparsity[layer] > 0 {
		activation = sparseGELU(c.Sparsity[layer])
	}
	l := &gemma3nBlock{
		updates:        c.alternatingUpdates(b, path+".altup"),
		attentionNorm:  norm("input_layernorm"),
		attention:      &unscaledAttention{heads: c.Heads, kvHeads: c.KVHeads, headDim: c.HeadDim, cache: c.cacheOf(layer, c.SharedLayers), rope: rope},
		afterAttention: norm("post_attention_layernorm"),
		laurel: &laurel{
			left:  b.Linear(path+".laurel.linear_left", c.HiddenSize, c.LaurelRank),
			right: b.Linear(path+".laurel.linear_right", c.LaurelRank, c.HiddenSize),
			norm:  norm("laurel.post_laurel_norm"),
		},
		mlpNorm:  norm("pre_feedforward_layernorm"),
		mlp:      b.GatedMLP(path+".mlp", c.HiddenSize, c.Intermediates[min(layer, len(c.Intermediates)-1)], activation),
		afterMLP: norm("post_feedforward_layernorm"),
		told:     c.toldTokens(b, path, inputs),
	}
	l.attention.build(b, path+".self_attn", c.HiddenSize, c.RMSNormEps, layer)
	return l
}

// Forward implements block, of states [states, 1, T, hidden].
func (l *gemma3nBlock) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	predicted := l.updates.predict(c.Scope, x)
	active := state(c.Scope, predicted, l.updates.active)
	normal := l.attentionNorm.Forward(c.Scope, active)
	learned := l.laurel.forward(c.Scope, normal)
	attended := l.afterAttention.Forward(c.Scope, l.attention.forward(c, normal, layer))
	y := times(c.Scope, c.Add(c.Add(active, attended), learned), 1/math.Sqrt2)
	y = c.Add(y, l.afterMLP.Forward(c.Scope, l.mlp.Forward(c.Scope, l.mlpNorm.Forward(c.Scope, y))))
	corrected := l.updates.correct(c.Scope, predicted, y)
	if c.Err() != nil {
		return mlx.Array{}
	}
	told := l.told.forward(c.Scope, l.updates.scaled(c.Scope, state(c.Scope, corrected, l.updates.active)), layer)
	others := c.SliceAxis(corrected, 0, 1, corrected.Dim(0))
	return c.Concatenate(0, c.SliceAxis(corrected, 0, 0, 1), c.Add(others, told))
}

// laurel is a learned augmented residual layer: x and a projection of low rank.
type laurel struct {
	left, right nn.Linear
	norm        nn.Norm
}

func (l *laurel) forward(s *mlx.Scope, x mlx.Array) mlx.Array {
	return s.Add(x, l.norm.Forward(s, l.right.Forward(s, l.left.Forward(s, x))))
}

// sparseGELU is ApproximateGELU of what is above the given part of a normal distribution with
// x's mean and deviation, along the last axis.
func sparseGELU(part float64) nn.Activation {
	deviations := math.Sqrt2 * math.Erfinv(2*part-1)
	return func(s *mlx.Scope, x mlx.Array) mlx.Array {
		if s.Err() != nil {
			return mlx.Array{}
		}
		mean := s.Mean(x, -1, true)
		deviation := s.Sqrt(s.Mean(s.Square(s.Subtract(x, mean)), -1, true))
		cutoff := s.Add(mean, times(s, deviation, deviations))
		return nn.ApproximateGELU(s, s.Maximum(s.Scalar(0, x.DType()), s.Subtract(x, cutoff)))
	}
}

// alternatingUpdates mix the states of a layer (AltUp; Baykal et al., 2023), in float32.
type alternatingUpdates struct {
	states, active int
	hiddenSize     int

	router     nn.Linear // hidden to states
	routerNorm nn.Norm
	prediction *mlx.Ref // float32 [states, states * states]
	correction *mlx.Ref // float32 [states, states]
	scale      *mlx.Ref // [hidden]; nil: none
}

func (c *gemma3nConfig) alternatingUpdates(b *nn.Builder, path string) *alternatingUpdates {
	u := &alternatingUpdates{
		states: c.States, active: c.ActiveState, hiddenSize: c.HiddenSize,
		router:     b.Linear(path+".modality_router", c.HiddenSize, c.States),
		routerNorm: b.RMSNorm(path+".router_norm", c.HiddenSize, c.RMSNormEps),
		prediction: c.coefficients(b, path+".prediction_coefs", c.States*c.States),
		correction: c.coefficients(b, path+".correction_coefs", c.States),
	}
	scale := b.Parameter(path+".correct_output_scale", c.HiddenSize)
	if c.CorrectScale {
		u.scale = scale
	}
	return u
}

// coefficients is a clipped matrix, [out, states], transposed.
func (c *gemma3nConfig) coefficients(b *nn.Builder, path string, out int) *mlx.Ref {
	stored := b.Parameter(path+".weight", out, c.States)
	return b.Derive(func(s *mlx.Scope) mlx.Array {
		w := s.AsType(stored.Array(), mlx.Float32)
		if c.CoefClip != nil {
			w = s.Minimum(s.Maximum(w, s.Scalar(-*c.CoefClip, mlx.Float32)), s.Scalar(*c.CoefClip, mlx.Float32))
		}
		return s.Contiguous(s.Transpose(w, 1, 0))
	})
}

// modalities is what x, [1, T, hidden], says of the states, float32 [1, T, states].
func (u *alternatingUpdates) modalities(s *mlx.Scope, x mlx.Array) mlx.Array {
	normal := times(s, u.routerNorm.Forward(s, x), 1/float64(u.hiddenSize))
	return s.Tanh(s.AsType(u.router.Forward(s, normal), mlx.Float32))
}

// predict is what the layer expects the states to be.
func (u *alternatingUpdates) predict(s *mlx.Scope, x mlx.Array) mlx.Array {
	coefs := s.MatMul(u.modalities(s, state(s, x, u.active)), u.prediction.Array())
	coefs = s.Transpose(s.Reshape(coefs, 1, -1, u.states, u.states), 0, 1, 3, 2)
	if s.Err() != nil {
		return mlx.Array{}
	}
	wide := s.AsType(x, mlx.Float32)
	mixed := s.MatMul(s.Transpose(wide, 1, 2, 3, 0), coefs) // [1, T, hidden, states]
	return s.AsType(s.Add(s.Transpose(mixed, 3, 0, 1, 2), wide), x.DType())
}

// correct moves the predicted states by how far the active one was off what it became.
func (u *alternatingUpdates) correct(s *mlx.Scope, predicted, became mlx.Array) mlx.Array {
	coefs := s.Add(s.MatMul(u.modalities(s, became), u.correction.Array()), s.Scalar(1, mlx.Float32))
	off := s.Subtract(became, state(s, predicted, u.active))
	coefs = s.ExpandDims(s.Transpose(coefs, 2, 0, 1), -1) // [states, 1, T, 1]
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.AsType(s.Add(s.Multiply(s.ExpandDims(off, 0), coefs), predicted), became.DType())
}

// scaled is the corrected active state as the layer's input is told about.
func (u *alternatingUpdates) scaled(s *mlx.Scope, x mlx.Array) mlx.Array {
	if u.scale == nil {
		return x
	}
	return s.Multiply(x, u.scale.Array())
}
