package models

import (
	"cmp"
	"math"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gemma3Config is the part of config.json that Gemma 3 reads.
type gemma3Config struct {
	llamaConfig
	QueryScalar   float64         `json:"query_pre_attn_scalar"`  // scores are divided by its root
	LocalTheta    float64         `json:"rope_local_base_freq"`   // of sliding layers
	WindowPattern int             `json:"sliding_window_pattern"` // the last of every so many layers is global
	RoPE          ropeByLayerType `json:"rope_parameters"`        // instead of rope_theta, rope_scaling and LocalTheta
	Bidirectional any             `json:"use_bidirectional_attention"`
}

func (c *gemma3Config) complete() error {
	if err := positive("query_pre_attn_scalar", float32(c.QueryScalar)); err != nil {
		return err
	}
	if err := causal(c.Bidirectional); err != nil {
		return err
	}
	if err := c.completeWindowPattern(c.WindowPattern); err != nil {
		return err
	}
	return c.llamaConfig.complete()
}

// newGemma3 is the language model of a multimodal Gemma 3.
func newGemma3(b *nn.Builder) (Model, error) {
	var outer struct {
		VocabSize int `json:"vocab_size"`
	}
	if err := b.Config.Decode(&outer); err != nil {
		return nil, err
	}
	if err := useText(b); err != nil {
		return nil, err
	}
	return gemma3(b, dimensions{Heads: 8, KVHeads: 4, VocabSize: cmp.Or(outer.VocabSize, 262208)})
}

// newGemma3Text is a Gemma 3 without other modalities.
func newGemma3Text(b *nn.Builder) (Model, error) {
	return gemma3(b, dimensions{Heads: 4, KVHeads: 1, VocabSize: 262144})
}

// gemma3 builds the model. Real configurations leave out much; absent is what it means beyond
// what it means in both.
func gemma3(b *nn.Builder, absent dimensions) (Model, error) {
	c := gemma3Config{QueryScalar: 256, LocalTheta: 10000, WindowPattern: 6}
	c.dimensions, c.RMSNormEps, c.SlidingWindow = absent, 1e-6, 512
	c.HiddenSize, c.Layers, c.IntermediateSize, c.HeadDim = 1152, 26, 6912, 256
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	ropes := c.ropes(b)
	m := c.gemma(b, !b.Has("lm_head.weight"), func(path string, layer int) block {
		l := c.gemmaLayer(b, path, ropes[c.LayerTypes[layer]])
		l.clipped = true
		l.attention.Scores.Scale = float32(1 / math.Sqrt(c.QueryScalar))
		l.attention.Prepare = nn.NormalizeHeads(
			b.OffsetRMSNorm(path+".self_attn.q_norm", c.HeadDim, c.RMSNormEps),
			b.OffsetRMSNorm(path+".self_attn.k_norm", c.HeadDim, c.RMSNormEps),
		)
		return l
	})
	m.embeddingScale = bfloat16(m.embeddingScale)
	m.caches = c.windows()
	return m, b.Err()
}

// ropes are the rotary embeddings by type of layer.
func (c *gemma3Config) ropes(b *nn.Builder) map[string]*nn.RoPE {
	if c.RoPE != nil {
		return c.RoPE.build(b, false, map[string]int{fullAttention: c.HeadDim, slidingAttention: c.HeadDim})
	}
	global := b.RoPEOptions(c.HeadDim)
	global.Theta = cmp.Or(global.Theta, 1e6)
	return map[string]*nn.RoPE{
		fullAttention:    b.RoPEOf(global),
		slidingAttention: b.RoPEOf(nn.RoPEOptions{Dims: c.HeadDim, Theta: c.LocalTheta}),
	}
}

// bfloat16 rounds x to the nearest bfloat16, ties to even.
func bfloat16(x float64) float64 {
	bits := math.Float32bits(float32(x))
	bits += 0x7fff + bits>>16&1
	return float64(math.Float32frombits(bits &^ 0xffff))
}

// causal refuses what config.json says at use_bidirectional_attention of models that embed texts.
func causal(bidirectional any) error {
	if bidirectional == true || bidirectional == "all" {
		return fault.New(fault.ModelLoad, "config.json: use_bidirectional_attention is %v; accepted: false, \"vision\"", bidirectional)
	}
	return nil
}
