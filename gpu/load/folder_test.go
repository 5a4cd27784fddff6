package load

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/safetensors/safetensorstest"
)

var one = safetensorstest.Tensor{Name: "a", DType: "F32", Shape: []int{1}, Data: make([]byte, 4)}

func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolderRefusals(t *testing.T) {
	const config = `{"model_type":"llama"}`
	weights := string(safetensorstest.Encode(one))
	for name, test := range map[string]struct {
		files map[string]string
		says  string
	}{
		"no config.json":     {map[string]string{"model.safetensors": weights}, "has no config.json"},
		"config not JSON":    {map[string]string{"config.json": "{"}, "config.json: "},
		"no model_type":      {map[string]string{"config.json": "{}"}, "no model_type"},
		"no weights":         {map[string]string{"config.json": config}, "no model*.safetensors"},
		"truncated weights":  {map[string]string{"config.json": config, "model.safetensors": weights[:len(weights)-1]}, "truncated"},
		"missing shard":      {map[string]string{"config.json": config, "model.safetensors.index.json": `{"weight_map":{"a":"model-1.safetensors"}}`}, "shard model-1.safetensors"},
		"shard elsewhere":    {map[string]string{"config.json": config, "model.safetensors.index.json": `{"weight_map":{"a":"../x.safetensors"}}`}, "not a file of the folder"},
		"empty index":        {map[string]string{"config.json": config, "model.safetensors.index.json": `{}`}, "empty weight_map"},
		"tensor twice":       {map[string]string{"config.json": config, "model-1.safetensors": weights, "model-2.safetensors": weights}, `tensor "a" is in`},
		"foreign quantiser":  {map[string]string{"config.json": `{"model_type":"llama","quantization_config":{"quant_method":"awq"}}`}, `"awq" is not an MLX quantisation`},
		"strange bits":       {map[string]string{"config.json": `{"model_type":"llama","quantization":{"group_size":64,"bits":7}}`}, "bits 7; accepted"},
		"strange group":      {map[string]string{"config.json": `{"model_type":"llama","quantization":{"group_size":48,"bits":4}}`}, "group_size 48; accepted"},
		"too many layers":    {map[string]string{"config.json": `{"model_type":"llama","num_hidden_layers":2147483648}`}, "num_hidden_layers is 2.147483648e+09"},
		"too many experts":   {map[string]string{"config.json": `{"model_type":"llama","text_config":{"num_local_experts":99999}}`}, "num_local_experts is 99999"},
		"strange mode":       {map[string]string{"config.json": `{"model_type":"llama","quantization":{"group_size":32,"bits":4,"mode":"gptq"}}`}, `mode "gptq" is not supported`},
		"strange layer bits": {map[string]string{"config.json": `{"model_type":"llama","quantization":{"group_size":64,"bits":4,"lm_head":{"group_size":64,"bits":1}}}`}, `"lm_head": bits 1`},
	} {
		_, err := Open(folderOf(t, test.files), anyModel)
		if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want a ModelLoad fault with %q", name, err, test.says)
		}
	}
}

func TestOpenRefusals(t *testing.T) {
	file := filepath.Join(folderOf(t, map[string]string{"model.bin": "x"}), "model.bin")
	for path, says := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "none: no such file or folder",
		file:                               "neither a folder with config.json nor a .gguf file",
	} {
		if _, err := Open(path, anyModel); !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), os.TempDir()) {
			t.Errorf("got %v, want a ModelLoad fault with %q and no path", err, says)
		}
	}
}

func TestLayerQuantization(t *testing.T) {
	c, err := ParseConfig([]byte(`{"model_type":"llama","quantization":{"group_size":64,"bits":4,
		"model.embed_tokens":{"group_size":32,"bits":8}, "lm_head":false, "model.norm":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	if q := c.LayerQuantization("model.layers.0.mlp.up_proj"); q == nil || q.Bits != 4 || q.GroupSize != 64 {
		t.Errorf("standard: %+v", q)
	}
	if q := c.LayerQuantization("model.embed_tokens"); q == nil || q.Bits != 8 || q.GroupSize != 32 || q.Mode != "affine" {
		t.Errorf("override: %+v", q)
	}
	if q := c.LayerQuantization("lm_head"); q != nil {
		t.Errorf("a dense layer is quantised: %+v", q)
	}
}

func anyModel(string) error { return nil }
