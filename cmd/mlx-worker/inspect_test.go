package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
	"mlx-worker/internal/safetensors/safetensorstest"
)

// inspected runs mlx-worker inspect --json.
func inspected(t *testing.T, path string) (r report, code int) {
	t.Helper()
	stdout, stderr, code := runWorker(t, nil, "inspect", path, "--json")
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("inspect %s: %v; stdout %q, stderr %q", path, err, stdout, stderr)
	}
	return r, code
}

const inspectedTokenizer = `{"version":"1.0","added_tokens":[{"id":2,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,
	"normalized":false,"special":true}],"model":{"type":"WordLevel","vocab":{"a":0,"b":1,"<end>":2},"unk_token":"a"}}`

// inspectedLlama writes a llama of one layer, quantised by the configuration given, without weights to speak of.
func inspectedLlama(t *testing.T, quantization, template string) string {
	t.Helper()
	config := strings.TrimSuffix(llamaConfig, "}")
	if quantization != "" {
		config += `, "quantization": ` + quantization
	}
	encoded, err := json.Marshal(map[string]any{"eos_token": "<end>", "chat_template": template})
	if err != nil {
		t.Fatal(err)
	}
	dir := files(t, map[string]string{
		"config.json": config + "}", "tokenizer.json": inspectedTokenizer, "tokenizer_config.json": string(encoded),
	})
	var tensors []safetensorstest.Tensor
	zeros := func(name, dtype string, size int, shape ...int) {
		for _, d := range shape {
			size *= d
		}
		tensors = append(tensors, safetensorstest.Tensor{Name: name, DType: dtype, Shape: shape, Data: make([]byte, size)})
	}
	for _, name := range []string{
		"model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj",
		"model.layers.0.self_attn.o_proj", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj",
	} {
		if quantization == "" {
			zeros(name+".weight", "BF16", 2, 64, 64)
			continue
		}
		zeros(name+".weight", "U32", 4, 64, 8)
		zeros(name+".scales", "F16", 2, 64, 1)
		zeros(name+".biases", "F16", 2, 64, 1)
	}
	for _, name := range []string{"model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"} {
		zeros(name+".weight", "F32", 4, 64)
	}
	safetensorstest.Write(t, filepath.Join(dir, "model.safetensors"), tensors...)
	return dir
}

func TestInspectAFolder(t *testing.T) {
	r, code := inspected(t, inspectedLlama(t, `{"bits": 4, "group_size": 64}`, "{{ tools }}{{ messages[0].content }}"))
	if code != exitOK || !r.Supported || len(r.Unsupported) != 0 || r.Format != "folder" || r.Architecture != "llama" {
		t.Errorf("exit %d, %+v", code, r)
	}
	if r.Parameters != 8*64*64+3*64 || r.ContextLength != 64 || *r.Quantization != (quantization{"affine", 4, 64}) ||
		!maps.Equal(r.Tensors, map[string]int{"4 bit affine, group 64": 8, "float32": 3}) {
		t.Errorf("weights: %+v %+v", r, r.Quantization)
	}
	if r.Tokenizer.VocabSize != 3 || len(r.Tokenizer.EOS) != 1 || r.Tokenizer.EOS[0] != (token{2, "<end>"}) || r.ChatTemplate != (chatTemplate{true, true}) {
		t.Errorf("text: %+v %+v", r.Tokenizer, r.ChatTemplate)
	}
	r, code = inspected(t, inspectedLlama(t, "", "{{ messages[0].content }}"))
	if code != exitOK || r.Quantization != nil || r.Tensors["bfloat16"] != 8 || r.ChatTemplate != (chatTemplate{true, false}) {
		t.Errorf("exit %d, %+v", code, r)
	}
}

func TestInspectForAPerson(t *testing.T) {
	stdout, stderr, code := runWorker(t, nil, "inspect", inspectedLlama(t, "", ""))
	for _, want := range []string{"llama (folder), supported", "33.0 k in 64.8 KiB", "quantisation   none", `EOS            2 "<end>"`, "64 tokens"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code != exitOK || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// What the worker cannot run is described as far as possible, with the reason.
func TestInspectWhatIsUnsupported(t *testing.T) {
	change := func(name string, edit func(content string) string) string {
		dir := inspectedLlama(t, "", "")
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(edit(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	replaced := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	ofGPTJ := gguftest.New().Set("general.architecture", "gptj").Set("gptj.context_length", uint32(77)).
		Tensor("token_embd.weight", gguf.Q8_K, []uint64{256, 2}, make([]byte, 2*292)).WriteFile(t, "m.gguf")
	for name, c := range map[string]struct {
		path, architecture, says string
		parameters               int64
		context                  int
	}{
		"architecture":   {change("config.json", replaced(`"llama"`, `"frobnicator"`)), "frobnicator", "frobnicator", 8*64*64 + 3*64, 64},
		"missing tensor": {change("config.json", replaced(`"num_hidden_layers": 1`, `"num_hidden_layers": 2`)), "llama", "tensors are missing: model.layers.1.", 8*64*64 + 3*64, 64},
		"quantisation":   {change("config.json", replaced(`{`, `{"quantization_config": {"quant_method": "gptq"},`)), "llama", "gptq", 0, 64},
		"tokenizer":      {change("tokenizer.json", replaced(`{`, `[`)), "llama", "tokenizer.json", 8*64*64 + 3*64, 64},
		"truncated":      {change("model.safetensors", func(s string) string { return s[:len(s)-1] }), "llama", "truncated", 0, 64},
		"another GGUF":   {ofGPTJ, "gptj", `unknown architecture "gptj"`, 512, 77},
		"not a model":    {files(t, map[string]string{"README.md": "x"}), "", "without config.json", 0, 0},
	} {
		r, code := inspected(t, c.path)
		if code != exitUnsupported || r.Supported || !strings.Contains(strings.Join(r.Unsupported, "\n"), c.says) {
			t.Errorf("%s: exit %d, unsupported %q; want exit 1 and %q", name, code, r.Unsupported, c.says)
		}
		if r.Architecture != c.architecture || r.Parameters != c.parameters || r.ContextLength != c.context {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestInspectNotesABrokenTemplate(t *testing.T) {
	r, code := inspected(t, inspectedLlama(t, "", "{% if %}"))
	if code != exitOK || !r.Supported || !r.ChatTemplate.Present || len(r.Unsupported) != 1 {
		t.Errorf("exit %d, %+v", code, r)
	}
}

func TestInspectAGGUFFile(t *testing.T) {
	if _, err := os.Stat(testModel); err != nil {
		t.Skip("the test model is absent: run `make model`")
	}
	r, code := inspected(t, testModel)
	if code != exitOK || r.Format != "gguf" || r.Architecture != "llama" || r.Parameters != 134515008 || r.ContextLength != 8192 ||
		*r.Quantization != (quantization{"affine", 4, 32}) || r.Tokenizer.VocabSize != 49152 || len(r.Tokenizer.EOS) != 2 || !r.ChatTemplate.Present {
		t.Errorf("exit %d, %+v %+v", code, r, r.Tokenizer)
	}
}

func TestInspectUsage(t *testing.T) {
	for _, args := range [][]string{{"inspect"}, {"inspect", "--frobnicate", "x"}, {"inspect", "x", "y"}, {"inspect", filepath.Join(t.TempDir(), "absent")}} {
		stdout, stderr, code := runWorker(t, nil, args...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}
