package load

import (
	"encoding/json"
	"fmt"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
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

// ParseConfig reads config.json.
func ParseConfig(raw []byte) (*Config, error) {
	var head struct {
		ModelType    string                     `json:"model_type"`
		MaxLength    int                        `json:"max_position_embeddings"`
		Quantization map[string]json.RawMessage `json:"quantization"`
		HFQuant      map[string]json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fault.New(fault.ModelLoad, "config.json: %w", err)
	}
	if head.ModelType == "" {
		return nil, fault.New(fault.ModelLoad, "config.json has no model_type")
	}
	if head.MaxLength < 0 {
		return nil, fault.New(fault.ModelLoad, "config.json: max_position_embeddings is %d", head.MaxLength)
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
		return q, fault.New(fault.ModelLoad, "config.json: quantization_config with quant_method %s is not an MLX quantisation", method)
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
			spec.Mode = standard.Mode
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

// check accepts the affine formats of MLX; the others come with their model families.
func (q *QuantSpec) check() error {
	if q.Mode != mlx.Affine {
		return fmt.Errorf("mode %q is not supported; accepted: affine", q.Mode)
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
