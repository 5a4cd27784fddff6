package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/pyjson"
)

// Config is a model's configuration in the words of Hugging Face's config.json.
type Config struct {
	raw []byte

	ModelType string     // model_type
	MaxLength int        // max_position_embeddings; 0: not said
	DType     *mlx.DType // dtype that every float is cast to while loading; nil: as stored

	quantization quantization
}

type quantization struct {
	standard *QuantSpec
	byLayer  map[string]*QuantSpec // nil value: this layer is not quantised
}

// QuantSpec is how a matrix was quantised.
type QuantSpec struct {
	GroupSize int           `json:"group_size"`
	Bits      int           `json:"bits"`
	Mode      mlx.QuantMode `json:"mode"`
}

// unsaidLengths are max_position_embeddings of families whose published configurations leave it
// out, by model_type.
var unsaidLengths = map[string]int{"gemma3": 131072, "gemma3_text": 131072}

// ParseConfig reads config.json.
func ParseConfig(raw []byte) (*Config, error) {
	var head struct {
		ModelType string `json:"model_type"`
		MaxLength int    `json:"max_position_embeddings"`
		Text      struct {
			MaxLength int `json:"max_position_embeddings"`
		} `json:"text_config"`
		Quantization map[string]json.RawMessage `json:"quantization"`
		HFQuant      map[string]json.RawMessage `json:"quantization_config"`
	}
	raw = pyjson.Standard(raw)
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fault.New(fault.ModelLoad, "config.json: %w", err)
	}
	if head.ModelType == "" {
		return nil, fault.New(fault.ModelLoad, "config.json has no model_type")
	}
	head.MaxLength = cmp.Or(head.MaxLength, head.Text.MaxLength, unsaidLengths[head.ModelType])
	if head.MaxLength < 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: max_position_embeddings is %d", head.MaxLength)
	}
	if err := checkCounts(raw); err != nil {
		return nil, err
	}
	c := &Config{raw: raw, ModelType: head.ModelType, MaxLength: head.MaxLength}
	spec := head.Quantization
	if spec == nil {
		spec = head.HFQuant
	}
	if spec == nil {
		return c, nil
	}
	var err error
	c.quantization, err = parseQuantization(spec)
	return c, err
}

// Decode fills into, a struct with json tags, from the configuration.
func (c *Config) Decode(into any) error {
	if err := json.Unmarshal(c.raw, into); err != nil {
		return fault.New(fault.ModelLoad, "config.json: %w", err)
	}
	return nil
}

// Text returns the configuration of a multimodal model's language model, text_config, with the
// model's quantisation. rename gives matrices their paths in the language model.
func (c *Config) Text(rename func(path string) string) (*Config, error) {
	var whole struct {
		Text          map[string]json.RawMessage `json:"text_config"`
		TieEmbeddings json.RawMessage            `json:"tie_word_embeddings"`
	}
	if err := c.Decode(&whole); err != nil {
		return nil, err
	}
	if whole.Text == nil {
		return nil, fault.New(fault.ModelLoad, "config.json: a %s model has no text_config", c.ModelType)
	}
	const tied = "tie_word_embeddings" // transformers may say it of the whole only
	if _, said := whole.Text[tied]; !said && whole.TieEmbeddings != nil {
		whole.Text[tied] = whole.TieEmbeddings
	}
	raw, err := json.Marshal(whole.Text)
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "config.json: text_config: %w", err)
	}
	text := *c
	text.raw = raw
	if err := text.Decode(&struct {
		ModelType *string `json:"model_type"`
		MaxLength *int    `json:"max_position_embeddings"`
	}{&text.ModelType, &text.MaxLength}); err != nil {
		return nil, err
	}
	if text.MaxLength < 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: text_config: max_position_embeddings is %d", text.MaxLength)
	}
	text.quantization.byLayer = map[string]*QuantSpec{}
	for path, spec := range c.quantization.byLayer {
		text.quantization.byLayer[rename(path)] = spec
	}
	return &text, nil
}

// Quantization returns the predominant format, or nil for a dense model.
func (c *Config) Quantization() *QuantSpec { return c.quantization.standard }

// LayerQuantization returns how the matrix at a path such as "model.layers.0.mlp.up_proj" is
// quantised, or nil if the configuration does not say that it is.
func (c *Config) LayerQuantization(path string) *QuantSpec {
	if spec, ok := c.quantization.byLayer[path]; ok {
		return spec
	}
	return c.quantization.standard
}

func parseQuantization(fields map[string]json.RawMessage) (quantization, error) {
	q := quantization{byLayer: map[string]*QuantSpec{}}
	if method, ok := fields["quant_method"]; ok {
		var err error
		q.standard, err = quantMethod(method)
		return q, err
	}
	standard := &QuantSpec{Mode: mlx.Affine}
	for name, body := range fields {
		var err error
		switch name {
		case "group_size":
			err = json.Unmarshal(body, &standard.GroupSize)
		case "bits":
			err = json.Unmarshal(body, &standard.Bits)
		case "mode":
			err = json.Unmarshal(body, &standard.Mode)
		default:
			err = q.parseLayer(name, body)
		}
		if err != nil {
			return q, fault.New(fault.ModelLoad, "config.json: quantization %q: %w", name, err)
		}
	}
	for name, spec := range q.byLayer {
		if spec != nil && spec.Mode == "" {
			spec.Mode = mlx.Affine // whatever the standard, as in MLX
		}
		if spec != nil {
			if err := spec.check(); err != nil {
				return q, fault.New(fault.ModelLoad, "config.json: quantization of %q: %w", name, err)
			}
		}
	}
	if err := standard.check(); err != nil {
		return q, fault.New(fault.ModelLoad, "config.json: quantization: %w", err)
	}
	q.standard = standard
	return q, nil
}

// parseLayer reads an override: {"group_size", "bits", "mode"}, or false for a dense layer.
func (q *quantization) parseLayer(name string, body json.RawMessage) error {
	var quantised bool
	if json.Unmarshal(body, &quantised) == nil {
		if !quantised {
			q.byLayer[name] = nil
		}
		return nil
	}
	spec := &QuantSpec{}
	if err := json.Unmarshal(body, spec); err != nil {
		return err
	}
	q.byLayer[name] = spec
	return nil
}

// quantMethod is the format of checkpoints that say it in the words of transformers.
func quantMethod(method json.RawMessage) (*QuantSpec, error) {
	switch string(method) {
	case `"mxfp4"`:
		return &QuantSpec{GroupSize: 32, Bits: 4, Mode: mlx.MXFP4}, nil
	case `"mxfp8"`:
		return &QuantSpec{GroupSize: 32, Bits: 8, Mode: mlx.MXFP8}, nil
	}
	return nil, fault.New(fault.ModelLoad, "config.json: quantization_config with quant_method %s is not an MLX quantisation; accepted: mxfp4, mxfp8", method)
}

// InferQuantization tells how a matrix with so many inputs is quantised from the shapes of its
// weight and scales, or nil if no format fits.
func InferQuantization(in int, weight, scales Array) *QuantSpec {
	if len(weight.Shape) == 0 || len(scales.Shape) == 0 {
		return nil
	}
	columns, groups := weight.Shape[len(weight.Shape)-1], scales.Shape[len(scales.Shape)-1]
	if groups == 0 || in%groups != 0 || columns*32%in != 0 {
		return nil
	}
	q := &QuantSpec{GroupSize: in / groups, Bits: columns * 32 / in, Mode: mlx.Affine}
	if scales.DType == mlx.Uint8 {
		for mode, fixed := range defaultFormats {
			if mode != mlx.Affine && fixed.GroupSize == q.GroupSize && fixed.Bits == q.Bits {
				q.Mode = mode
			}
		}
	}
	if scales.DType.IsFloat() != (q.Mode == mlx.Affine) || q.check() != nil {
		return nil
	}
	return q
}

// check accepts the formats of MLX. Modes other than affine have but one.
func (q *QuantSpec) check() error {
	if fixed, known := defaultFormats[q.Mode]; known && q.Mode != mlx.Affine {
		if *q != fixed {
			return fmt.Errorf("mode %s with group_size %d and bits %d; accepted: %d and %d", q.Mode, q.GroupSize, q.Bits, fixed.GroupSize, fixed.Bits)
		}
		return nil
	}
	if q.Mode != mlx.Affine {
		return fmt.Errorf("mode %q is not supported; accepted: affine, mxfp4, mxfp8, nvfp4", q.Mode)
	}
	switch q.GroupSize {
	case 32, 64, 128:
	default:
		return fmt.Errorf("group_size %d; accepted: 32, 64, 128", q.GroupSize)
	}
	switch q.Bits {
	case 2, 3, 4, 5, 6, 8:
	default:
		return fmt.Errorf("bits %d; accepted: 2, 3, 4, 5, 6, 8", q.Bits)
	}
	return nil
}

// maxCount is far above the layers and experts of any model. A damaged count must not keep a
// family building layers until memory is full.
const maxCount = 1 << 14

// checkCounts refuses impossible numbers of layers and experts, whatever a family calls them.
func checkCounts(raw []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil // null, and so without counts
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if strings.HasSuffix(name, "_config") {
			if err := checkCounts(fields[name]); err != nil {
				return err
			}
		}
		var count float64
		counts := strings.Contains(name, "layer") || strings.Contains(name, "expert") && !strings.HasSuffix(name, "_size")
		if !counts || json.Unmarshal(fields[name], &count) != nil {
			continue
		}
		if count > maxCount {
			return fault.New(fault.ModelLoad, "config.json: %s is %g; at most %d is accepted", name, count, maxCount)
		}
	}
	return nil
}
