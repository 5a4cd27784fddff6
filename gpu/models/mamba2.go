package models

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// mamba2Size is the size of a mamba2Mixer.
type mamba2Size struct {
	heads, headDim int
	groups, state  int
	kernel         int
	steps          stepLimit
}

// complete checks the sizes, which config.json has at keys, in the order of the fields.
func (d *mamba2Size) complete(keys ...string) error {
	least := []int{1, 1, 1, 1, 2}
	for i, value := range []int{d.heads, d.headDim, d.groups, d.state, d.kernel} {
		if value < least[i] {
			return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be at least %d", keys[i], value, least[i])
		}
	}
	if d.heads%d.groups != 0 {
		return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be a multiple of %s, %d", keys[0], d.heads, keys[2], d.groups)
	}
	return nil
}

func (d *mamba2Size) inner() int    { return d.heads * d.headDim }
func (d *mamba2Size) channels() int { return d.inner() + 2*d.groups*d.state }

// stepLimit is the least and the greatest dt. Python writes an infinite one as Infinity, or as
// {"__float__": "Infinity"}.
type stepLimit [2]float64

// UnmarshalJSON implements json.Unmarshaler.
func (l *stepLimit) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var values []json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil || len(values) != len(l) {
		return fmt.Errorf("time_step_limit is %s, and must be two numbers", data)
	}
	for i, raw := range values {
		var tagged struct {
			Float string `json:"__float__"`
		}
		switch {
		case json.Unmarshal(raw, &l[i]) == nil:
		case json.Unmarshal(raw, &tagged) == nil && strings.EqualFold(strings.TrimPrefix(tagged.Float, "+"), "infinity"):
			l[i] = math.Inf(1)
		default:
			return fmt.Errorf("time_step_limit has %s, and must be two numbers", raw)
		}
	}
	return nil
}

// mamba2Mixer is a Mamba 2 layer (Dao and Gu, 2024): a short convolution, a selective state space,
// and a normalisation with a gate.
type mamba2Mixer struct {
	mamba2Size
	in, out nn.Linear // in to gates | inputs, B and C | dt
	conv    *nn.CausalConv
	ssm     *nn.SSM
	silu    nn.Activation

	norm      nn.Norm // nil: none
	normFirst bool    // before the gate, not after it
}

// build makes the layer at path, around its normalisation, which may be nil.
func (d mamba2Size) build(b *nn.Builder, path string, hidden int, norm nn.Norm) *mamba2Mixer {
	return &mamba2Mixer{
		mamba2Size: d,
		in:         b.Linear(path+".in_proj", hidden, d.inner()+d.channels()+d.heads),
		conv:       b.CausalConv(path+".conv1d", d.channels(), d.kernel),
		ssm:        b.SSM(path, d.heads, d.steps[0], d.steps[1]),
		norm:       norm,
		out:        b.Linear(path+".out_proj", d.inner(), hidden),
		silu:       b.SiLU(),
	}
}

// Forward implements mixer.
func (m *mamba2Mixer) Forward(c *nn.Context, x mlx.Array, layer int) mlx.Array {
	all := m.in.Forward(c.Scope, x)
	if c.Err() != nil {
		return mlx.Array{}
	}
	gates := c.SliceAxis(all, -1, 0, m.inner())
	mixed := c.SliceAxis(all, -1, m.inner(), m.inner()+m.channels())
	steps := c.SliceAxis(all, -1, m.inner()+m.channels(), m.inner()+m.channels()+m.heads)
	y := c.Recur([]mlx.Array{mixed, steps}, func(g cache.Segment, in []mlx.Array) mlx.Array {
		return m.recur(c.Scope, g, layer, in[0], in[1])
	})
	y = c.Reshape(y, 1, x.Dim(1), m.inner())
	return m.out.Forward(c.Scope, m.gated(c.Scope, gates, y))
}

// gated applies gates and the normalisation to y.
func (m *mamba2Mixer) gated(s *mlx.Scope, gates, y mlx.Array) mlx.Array {
	gates = m.silu(s, gates)
	switch {
	case m.norm == nil:
		return s.Multiply(gates, y)
	case m.normFirst:
		return s.Multiply(gates, m.norm.Forward(s, y))
	}
	return m.norm.Forward(s, s.Multiply(gates, y))
}

// recur extends the state of a segment by its tokens, [rows, n, ...].
func (m *mamba2Mixer) recur(s *mlx.Scope, g cache.Segment, layer int, mixed, steps mlx.Array) mlx.Array {
	state := nn.StateOf(g, layer, 2)
	mixed, before := m.conv.Forward(s, mixed, state[0])
	mixed = m.silu(s, mixed)
	if s.Err() != nil {
		return mlx.Array{}
	}
	rows, n := mixed.Dim(0), mixed.Dim(1)
	part := func(from, count, width int) mlx.Array {
		return s.Reshape(s.SliceAxis(mixed, -1, from, from+count*width), rows, n, count, width)
	}
	x := part(0, m.heads, m.headDim)
	b, c := part(m.inner(), m.groups, m.state), part(m.inner()+m.groups*m.state, m.groups, m.state)
	y, matrix := m.ssm.Forward(s, x, b, c, steps, state[1])
	g.SetState(layer, before, matrix)
	return y
}

// mamba2Config is Mamba 2's: nothing but state spaces.
type mamba2Config struct {
	HiddenSize    int       `json:"hidden_size"`
	Layers        int       `json:"num_hidden_layers"`
	VocabSize     int       `json:"vocab_size"`
	Heads         int       `json:"num_heads"`
	HeadDim       int       `json:"head_dim"`
	Groups        int       `json:"n_groups"`
	StateSize     int       `json:"state_size"`
	SSMStateSize  int       `json:"ssm_state_size"` // 0: StateSize
	Kernel        int       `json:"conv_kernel"`
	StepLimit     stepLimit `json:"time_step_limit"`
	NormEps       float32   `json:"layer_norm_epsilon"`
	TieEmbeddings bool      `json:"tie_word_embeddings"`
}

// mamba2BlockEps is the epsilon of the norms before layers, whatever the configuration says, as in
// mlx-lm.
const mamba2BlockEps = 1e-5

func newMamba2(b *nn.Builder) (Model, error) {
	c := mamba2Config{StepLimit: stepLimit{0, math.Inf(1)}}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	for key, value := range map[string]int{"hidden_size": c.HiddenSize, "num_hidden_layers": c.Layers, "vocab_size": c.VocabSize} {
		if value <= 0 {
			return nil, fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive", key, value)
		}
	}
	if err := positive("layer_norm_epsilon", c.NormEps); err != nil {
		return nil, err
	}
	size := mamba2Size{heads: c.Heads, headDim: c.HeadDim, groups: c.Groups, state: c.StateSize, kernel: c.Kernel, steps: c.StepLimit}
	if c.SSMStateSize != 0 {
		size.state = c.SSMStateSize
	}
	if err := size.complete("num_heads", "head_dim", "n_groups", "state_size", "conv_kernel"); err != nil {
		return nil, err
	}
	m := &decoder{embedding: b.Embedding("backbone.embeddings", c.VocabSize, c.HiddenSize)}
	for i := range c.Layers {
		path := fmt.Sprintf("backbone.layers.%d", i)
		m.blocks = append(m.blocks, &mixerOnly{
			norm:  b.RMSNorm(path+".norm", c.HiddenSize, mamba2BlockEps),
			mixer: size.build(b, path+".mixer", c.HiddenSize, b.RMSNorm(path+".mixer.norm", size.inner(), c.NormEps)),
		})
		m.caches = append(m.caches, cache.Layer{Recurrent: true})
	}
	m.norm = b.RMSNorm("backbone.norm_f", c.HiddenSize, c.NormEps)
	m.output(b, c.TieEmbeddings, "lm_head", c.HiddenSize, c.VocabSize)
	return m, b.Err()
}
