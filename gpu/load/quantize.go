package load

import (
	"encoding/json"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// defaultFormats are the group size and the bits of a mode that mlx-lm takes where they are not given.
var defaultFormats = map[mlx.QuantMode]QuantSpec{
	mlx.Affine: {GroupSize: 64, Bits: 4, Mode: mlx.Affine},
	mlx.MXFP4:  {GroupSize: 32, Bits: 4, Mode: mlx.MXFP4},
	mlx.MXFP8:  {GroupSize: 32, Bits: 8, Mode: mlx.MXFP8},
	mlx.NVFP4:  {GroupSize: 16, Bits: 4, Mode: mlx.NVFP4},
}

// NewQuantSpec completes a format with mlx-lm's defaults: mode "" is affine, 0 bits and a group
// size of 0 are the mode's. Formats that MLX has not are an error that says what it has.
func NewQuantSpec(mode mlx.QuantMode, bits, groupSize int) (*QuantSpec, error) {
	if mode == "" {
		mode = mlx.Affine
	}
	spec := defaultFormats[mode]
	spec.Mode = mode
	if bits != 0 {
		spec.Bits = bits
	}
	if groupSize != 0 {
		spec.GroupSize = groupSize
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	return &spec, nil
}

// floatTypes are the dtypes that mlx_lm.convert knows by name.
var floatTypes = map[string]mlx.DType{"float16": mlx.Float16, "bfloat16": mlx.BFloat16, "float32": mlx.Float32}

// ConversionDType is what mlx_lm.convert casts floats to, or nil: torch_dtype, or dtype of text_config.
func (c *Config) ConversionDType() (*mlx.DType, error) {
	var said struct {
		TorchDType *string `json:"torch_dtype"`
		Text       struct {
			DType *string `json:"dtype"`
		} `json:"text_config"`
	}
	if err := json.Unmarshal(c.raw, &said); err != nil {
		return nil, fault.New(fault.ModelLoad, "config.json: %w", err)
	}
	name := said.TorchDType
	if name == nil {
		name = said.Text.DType
	}
	if name == nil {
		return nil, nil
	}
	dtype, known := floatTypes[*name]
	if !known {
		return nil, nil // left as stored, as mlx-lm does
	}
	return &dtype, nil
}
