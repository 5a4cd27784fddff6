package main

import (
	"encoding/json"

	"mlx-worker/internal/modelfiles"
	"mlx-worker/text"
)

// examineText reads the tokenizer and tries the chat template.
func (r *report) examineText(path string) {
	model, err := modelfiles.OpenText(path)
	if err != nil {
		r.fails(err)
		return
	}
	defer model.Close()
	r.Tokenizer = &tokenizer{VocabSize: model.Tokenizer.VocabSize(), EOS: []token{}}
	if id, text, ok := model.Tokenizer.BOS(); ok {
		r.Tokenizer.BOS = &token{id, text}
	}
	for _, id := range model.EOSIDs {
		text, _ := model.Tokenizer.TokenString(id)
		r.Tokenizer.EOS = append(r.Tokenizer.EOS, token{id, text})
	}
	if model.Template == nil {
		return
	}
	r.ChatTemplate.Present = true
	plain, err := renderSample(model, nil)
	if err != nil {
		// The model still serves prompts.
		r.Unsupported = append(r.Unsupported, err.Error())
		return
	}
	withTools, err := renderSample(model, json.RawMessage(sampleTools))
	r.ChatTemplate.Tools = err == nil && withTools != plain
}

const sampleTools = `[{"type":"function","function":{"name":"clock","description":"Tells the time.",
	"parameters":{"type":"object","properties":{},"required":[]}}}]`

func renderSample(model *text.Model, tools json.RawMessage) (string, error) {
	return model.RenderChat(text.RenderOptions{
		Messages: json.RawMessage(`[{"role":"user","content":"What time is it?"}]`), Tools: tools, AddGenerationPrompt: true,
	})
}
