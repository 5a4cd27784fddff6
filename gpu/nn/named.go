package nn

import "math"

// AttentionOf is Attention of projections with other names below path: qkv are those of queries,
// keys and values, or one whose outputs are all three, in this order.
func (b *Builder) AttentionOf(path string, qkv []string, out string, hidden, heads, kvHeads, headDim int, rope *RoPE) *Attention {
	queries, keys := heads*headDim, kvHeads*headDim
	return &Attention{
		Heads: heads, KVHeads: kvHeads, HeadDim: headDim,
		QKV:    b.below(path, qkv, hidden, queries, keys, keys),
		Out:    b.Linear(path+"."+out, queries, hidden),
		RoPE:   rope,
		Scores: Scores{Scale: float32(math.Pow(float64(headDim), -0.5))},
	}
}

// SwiGLUOf is SwiGLU of projections with other names below path: gateUp are the gate's and the up
// projection's, or one whose outputs are both, in this order.
func (b *Builder) SwiGLUOf(path string, gateUp []string, down string, hidden, intermediate int) *GatedMLP {
	m := b.gatedMLP(path, gateUp, down, hidden, intermediate, b.SiLU())
	m.swiGLU = true
	return m
}

func (b *Builder) gatedMLP(path string, gateUp []string, down string, hidden, intermediate int, activation Activation) *GatedMLP {
	return &GatedMLP{
		GateUp:       b.below(path, gateUp, hidden, intermediate, intermediate),
		Down:         b.Linear(path+"."+down, intermediate, hidden),
		Intermediate: intermediate,
		Activation:   activation,
	}
}

// MLP builds up and down, the names of its projections below path.
func (b *Builder) MLP(path, up, down string, hidden, intermediate int, activation Activation) *MLP {
	return &MLP{
		Up:         b.Linear(path+"."+up, hidden, intermediate),
		Down:       b.Linear(path+"."+down, intermediate, hidden),
		Activation: activation,
	}
}

// below builds the projections that names say, one for all outs or one each.
func (b *Builder) below(path string, names []string, in int, outs ...int) Linear {
	if len(names) == 1 {
		sum := 0
		for _, n := range outs {
			sum += n
		}
		return b.Linear(path+"."+names[0], in, sum)
	}
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = path + "." + name
	}
	return b.Parallel(paths, in, outs...)
}
