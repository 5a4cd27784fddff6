package text

import (
	"encoding/json"
	"slices"
	"strings"

	"mlx-worker/internal/fault"
)

// readsFile lists the model types whose tokenizer.json transformers takes as it is, whatever
// tokenizer_class says.
var readsFile = []string{
	"arctic", "ernie4_5", "ernie4_5_moe", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "granite", "granitemoe",
	"granitemoehybrid", "granitemoeshared", "internlm2", "internlm3", "iquestcoder", "jamba", "minicpm3", "minimax_m2",
	"ministral", "ministral3", "mistral", "mistral3", "mixtral", "nemotron", "olmo2", "olmo3", "persimmon", "phi3",
	"phimoe", "pixtral", "stablelm",
}

// asLlama returns a SentencePiece tokenizer.json with the pipeline that transformers' class
// LlamaTokenizer puts into the file's place, if that is the model's class. The file's own
// pipeline, often from before that class, spells other ids at spaces and after special tokens.
func (c *tokenizerConfig) asLlama(tokenizerJSON []byte, modelType string) ([]byte, error) {
	if strings.TrimSuffix(c.Class, "Fast") != "LlamaTokenizer" || slices.Contains(readsFile, modelType) {
		return tokenizerJSON, nil
	}
	var file map[string]json.RawMessage
	var model struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(tokenizerJSON, &file)
	if err == nil {
		err = json.Unmarshal(file["model"], &model)
	}
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "tokenizer.json: %w", err).With("file", "tokenizer.json")
	}
	byteLevel := func(part string) bool { return strings.Contains(string(file[part]), `"ByteLevel"`) }
	if model.Type != "BPE" || byteLevel("pre_tokenizer") || byteLevel("decoder") {
		return tokenizerJSON, nil
	}
	prefix := c.AddPrefixSpace == nil || *c.AddPrefixSpace
	file["normalizer"] = json.RawMessage("null")
	file["pre_tokenizer"] = json.RawMessage(
		`{"type":"Metaspace","replacement":"▁","prepend_scheme":"` + prependScheme(prefix, c.Legacy) + `","split":false}`)
	strip := ""
	if prefix {
		strip = `,{"type":"Strip","content":" ","start":1,"stop":0}`
	}
	file["decoder"] = json.RawMessage(`{"type":"Sequence","decoders":[` +
		`{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}` + strip + `]}`)
	return json.Marshal(file)
}

// prependScheme says where a space is put before a text: nowhere, at its very beginning, or
// after special tokens too.
func prependScheme(prefix, legacy bool) string {
	switch {
	case !prefix:
		return "never"
	case legacy:
		return "always"
	}
	return "first"
}
