package models

import (
	"math"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// gemma2Config is the part of config.json that Gemma 2 reads. Its sliding_window is not: every
// layer sees all, as in mlx-lm.
type gemma2Config struct {
	llamaConfig
	ScoreCap    *float64 `json:"attn_logit_softcapping"`  // null: none
	LogitCap    *float64 `json:"final_logit_softcapping"` // null: none
	QueryScalar float64  `json:"query_pre_attn_scalar"`   // scores are divided by its root
}

func (c *gemma2Config) complete() error {
	if err := positiveOrNull("attn_logit_softcapping", c.ScoreCap); err != nil {
		return err
	}
	if err := positiveOrNull("final_logit_softcapping", c.LogitCap); err != nil {
		return err
	}
	if err := positive("query_pre_attn_scalar", float32(c.QueryScalar)); err != nil {
		return err
	}
	return c.llamaConfig.complete()
}

func newGemma2(b *nn.Builder) (Model, error) {
	scoreCap, logitCap := 50.0, 30.0
	c := gemma2Config{ScoreCap: &scoreCap, LogitCap: &logitCap, QueryScalar: 144}
	if err := b.Config.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	scores := nn.Scores{Scale: float32(1 / math.Sqrt(c.QueryScalar)), SoftCap: float32(valueOr(c.ScoreCap, 0))}
	rope := b.RoPE(c.HeadDim)
	m := c.gemma(b, true, func(path string, _ int) block {
		layer := c.gemmaLayer(b, path, rope)
		layer.attention.Scores = scores
		return layer
	})
	m.logitCap = valueOr(c.LogitCap, 0)
	return m, b.Err()
}

// gemmaLayer is the block of Gemma 2 and 3.
func (c *llamaConfig) gemmaLayer(b *nn.Builder, path string, rope *nn.RoPE) *sandwich {
	return &sandwich{
		attentionNorm:  b.OffsetRMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention:      c.attention(b, path, rope),
		afterAttention: b.OffsetRMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlpNorm:        b.OffsetRMSNorm(path+".pre_feedforward_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:            b.GatedMLP(path+".mlp", c.HiddenSize, c.IntermediateSize, nn.ApproximateGELU),
		afterMLP:       b.OffsetRMSNorm(path+".post_feedforward_layernorm", c.HiddenSize, c.RMSNormEps),
	}
}

func positiveOrNull(key string, value *float64) error {
	if value != nil && *value <= 0 {
		return fault.New(fault.ModelLoad, "config.json: %s is %g, and must be positive or null", key, *value)
	}
	return nil
}

// valueOr is what p points to, or absent if it is nil.
func valueOr[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
