package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testModel = "../../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

type params = map[string]any

// files writes a folder of files and returns it.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const llamaConfig = `{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64,
	"num_attention_heads": 4, "rms_norm_eps": 1e-5, "vocab_size": 64, "max_position_embeddings": 64}`

// Every model that cannot be loaded is refused by a typed error, and the worker goes on.
func TestModelsThatCannotBeLoaded(t *testing.T) {
	header := binary.LittleEndian.AppendUint64(nil, 1<<20) // longer than the file
	tokenizer := `{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}`
	w := startWorker(t)
	for name, c := range map[string]struct {
		path string
		kind string
		says string // part of the message
	}{
		"missing path":          {filepath.Join(t.TempDir(), "absent"), "ModelLoadError", ""},
		"no config.json":        {files(t, map[string]string{"README.md": "x"}), "ModelLoadError", "config.json"},
		"bad config.json":       {files(t, map[string]string{"config.json": "{", "tokenizer.json": tokenizer}), "ModelLoadError", "config.json"},
		"unknown architecture":  {files(t, map[string]string{"config.json": `{"model_type": "frobnicator"}`, "tokenizer.json": tokenizer}), "ModelLoadError", "frobnicator"},
		"no weights":            {files(t, map[string]string{"config.json": llamaConfig, "tokenizer.json": tokenizer}), "ModelLoadError", "safetensors"},
		"truncated safetensors": {files(t, map[string]string{"config.json": llamaConfig, "tokenizer.json": tokenizer, "model.safetensors": string(header)}), "ModelLoadError", "safetensors"},
		"GGUF of a wrong magic": {filepath.Join(files(t, map[string]string{"model.gguf": "GGML" + strings.Repeat("\x00", 60)}), "model.gguf"), "ModelLoadError", ""},
		"truncated GGUF":        {filepath.Join(files(t, map[string]string{"model.gguf": "GGUF\x03\x00\x00\x00"}), "model.gguf"), "ModelLoadError", ""},
	} {
		failure := w.fails("load_model", params{"model_id": "m", "local_path": c.path}, c.kind)
		message, _ := failure["message"].(string)
		if !strings.Contains(message, c.says) {
			t.Errorf("%s: %q does not name %q", name, message, c.says)
		}
		w.works()
	}
	w.fails("load_model", params{"model_id": "no/such-model"}, "ModelLoadError")
	w.fails("generate", params{"model_id": "m", "prompt": "x"}, "ModelNotLoaded")
	w.works()
}

func TestRequestsToARealModel(t *testing.T) {
	if _, err := os.Stat(testModel); err != nil {
		t.Skip("the test model is absent: run `make model`")
	}
	w := startWorker(t)
	if r := w.call("load_model", params{"model_id": "m", "local_path": testModel, "context_length": 64}); r["error"] != nil {
		t.Fatalf("load_model = %v; stderr: %s", r, w.log())
	}
	for _, c := range []struct {
		params params
		kind   string
		key    string
		want   any
	}{
		{params{"prompt": ""}, "InvalidParams", "param", "prompt"},
		{params{"prompt": "x", "frobnicate": 1}, "InvalidParams", "param", "frobnicate"},
		{params{"prompt": "x", "max_tokens": 65}, "InvalidParams", "param", "max_tokens"},
		{params{"prompt": strings.Repeat("word ", 100)}, "ContextLengthExceeded", "kind", "ContextLengthExceeded"},
		{params{"prompt_tokens": []int{1 << 30}}, "InvalidParams", "param", "prompt_tokens"},
	} {
		c.params["model_id"] = "m"
		failure := w.fails("generate", c.params, c.kind)
		if data, _ := failure["data"].(map[string]any); data[c.key] != c.want {
			t.Errorf("%v: data %v, want %s %v", c.params, data, c.key, c.want)
		}
	}

	// The end of stdin ends the process although a stream runs.
	if r := w.call("generate", params{"model_id": "m", "prompt": "Once upon a time", "ignore_eos": true, "stream_id": "s"}); r["error"] != nil {
		t.Fatalf("generate = %v", r)
	}
	for w.read()["method"] != "stream.chunk" {
	}
	_ = w.stdin.Close()
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d; stderr: %s", code, w.log())
	}
}
