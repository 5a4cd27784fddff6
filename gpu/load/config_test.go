package load

import (
	"strings"
	"testing"

	"mlx-worker/gpu/mlx"
)

func TestQuantizationModes(t *testing.T) {
	for label, test := range map[string]struct {
		config string // after model_type
		path   string
		want   QuantSpec
	}{
		"of the model":            {`"quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}`, "a", QuantSpec{32, 4, mlx.MXFP4}},
		"of a layer":              {`"quantization":{"group_size":32,"bits":4,"a":{"group_size":16,"bits":4,"mode":"nvfp4"}}`, "a", QuantSpec{16, 4, mlx.NVFP4}},
		"of a layer without one":  {`"quantization":{"group_size":32,"bits":4,"mode":"mxfp4","a":{"group_size":64,"bits":8}}`, "a", QuantSpec{64, 8, mlx.Affine}},
		"in transformers' words":  {`"quantization_config":{"quant_method":"mxfp4","modules_to_not_convert":["a"]}`, "b", QuantSpec{32, 4, mlx.MXFP4}},
		"MLX's words are in both": {`"quantization":{"group_size":64,"bits":4},"quantization_config":{"quant_method":"mxfp8"}`, "a", QuantSpec{64, 4, mlx.Affine}},
	} {
		c, err := ParseConfig([]byte(`{"model_type":"llama",` + test.config + `}`))
		if err != nil {
			t.Errorf("%s: %v", label, err)
			continue
		}
		if got := c.LayerQuantization(test.path); got == nil || *got != test.want {
			t.Errorf("%s: %+v, want %+v", label, got, test.want)
		}
	}
	_, err := ParseConfig([]byte(`{"model_type":"llama","quantization":{"group_size":64,"bits":4,"mode":"mxfp4"}}`))
	if err == nil || !strings.Contains(err.Error(), "mode mxfp4 with group_size 64 and bits 4; accepted: 32 and 4") {
		t.Errorf("got %v, want an error that says which group size mxfp4 has", err)
	}
}

func TestQuantizationIsInferredFromShapes(t *testing.T) {
	for _, test := range []struct {
		in, columns, groups int
		scales              mlx.DType
		want                *QuantSpec
	}{
		{512, 64, 16, mlx.Float16, &QuantSpec{32, 4, mlx.Affine}},
		{512, 48, 4, mlx.BFloat16, &QuantSpec{128, 3, mlx.Affine}},
		{512, 96, 8, mlx.Float32, &QuantSpec{64, 6, mlx.Affine}},
		{512, 64, 16, mlx.Uint8, &QuantSpec{32, 4, mlx.MXFP4}},
		{512, 128, 16, mlx.Uint8, &QuantSpec{32, 8, mlx.MXFP8}},
		{512, 64, 32, mlx.Uint8, &QuantSpec{16, 4, mlx.NVFP4}},
		{512, 64, 32, mlx.Float16, nil}, // a group of 16
		{512, 64, 8, mlx.Uint8, nil},    // no mode has it
		{512, 63, 16, mlx.Float16, nil},
		{512, 64, 0, mlx.Float16, nil},
	} {
		got := InferQuantization(test.in, Array{Shape: []int{3, 7, test.columns}}, Array{Shape: []int{3, 7, test.groups}, DType: test.scales})
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%d inputs in %d columns and %d groups of %s: %+v, want %+v", test.in, test.columns, test.groups, test.scales, got, test.want)
		}
	}
}
