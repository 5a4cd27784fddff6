package text

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"mlx-worker/internal/fault"
)

// Template is a compiled chat template. It is safe for concurrent use.
type Template struct {
	native  *nativeTemplate
	toolUse *Template // used when tools are given; nil: this one
	err     error     // of a model's template that does not compile; Render returns it
}

// ParseTemplate compiles a Jinja chat template.
func ParseTemplate(source string) (*Template, error) {
	native, err := newNativeTemplate(source)
	if err != nil {
		return nil, err
	}
	return &Template{native: native}, nil
}

// RenderOptions are the inputs of a rendering. Raw JSON keeps the order of keys, which
// templates print.
type RenderOptions struct {
	Messages            json.RawMessage   // array of at least one object
	Tools               json.RawMessage   // array of objects; empty or null: none
	Kwargs              json.RawMessage   // object of further variables; empty or null: none
	AddGenerationPrompt bool              // ask for the beginning of an assistant's turn
	SpecialTokens       map[string]string // variables such as bos_token; Kwargs win over them
	Now                 time.Time         // clock of strftime_now, in its own zone; zero: the local time
}

// reservedKwargs are names that transformers takes as its own arguments and never hands to
// a template.
var reservedKwargs = []string{
	"messages", "conversation", "tools", "add_generation_prompt", "chat_template", "tokenize",
	"continue_final_message", "padding", "truncation", "max_length", "return_tensors", "return_dict",
	"return_assistant_tokens_mask", "tokenizer_kwargs", "sanitize_control_tokens", "strftime_now", "raise_exception",
}

// Render returns the prompt's text, byte for byte that of transformers. A template's own
// raise_exception is an error with its message.
func (t *Template) Render(o RenderOptions) (string, error) {
	if t.toolUse != nil && !isNull(o.Tools) {
		return t.toolUse.Render(o)
	}
	if t.err != nil {
		return "", t.err
	}
	request, err := o.encode()
	if err != nil {
		return "", err
	}
	return t.native.render(request)
}

// Close frees the template. It waits for calls under way; later ones fail. Closing twice
// is harmless.
func (t *Template) Close() {
	if t.native != nil {
		t.native.close()
	}
	if t.toolUse != nil {
		t.toolUse.Close()
	}
}

func (o RenderOptions) encode() ([]byte, error) {
	if trimmed := bytes.TrimSpace(o.Messages); isNull(trimmed) || isEmptyArray(trimmed) {
		return nil, fault.New(fault.Tokenizer, "render chat template: messages is empty; at least one message is needed")
	}
	kwargs, err := o.kwargs()
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	request, err := json.Marshal(map[string]any{
		"messages":              o.Messages,
		"tools":                 orNull(o.Tools),
		"kwargs":                kwargs,
		"special_tokens":        nonNilMap(o.SpecialTokens),
		"add_generation_prompt": o.AddGenerationPrompt,
		"now": [9]int{
			now.Year(), int(now.Month()), now.Day(), now.Hour(), now.Minute(), now.Second(),
			now.Nanosecond() / 1000, int(now.Weekday()), now.YearDay(),
		},
	})
	if err != nil {
		return nil, fault.New(fault.Tokenizer, "render chat template: %w", err)
	}
	return request, nil
}

// kwargs checks the names of the further variables.
func (o RenderOptions) kwargs() (json.RawMessage, error) {
	if isNull(o.Kwargs) {
		return orNull(nil), nil
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(o.Kwargs, &names); err != nil {
		return nil, fault.New(fault.Tokenizer, "render chat template: chat_template_kwargs is not an object: %w", err)
	}
	for _, name := range sortedKeys(names) {
		if slices.Contains(reservedKwargs, name) {
			return nil, fault.New(fault.Unsupported,
				"render chat template: chat_template_kwargs may not set %q", name).With("what", name)
		}
	}
	return o.Kwargs, nil
}

func isNull(raw json.RawMessage) bool {
	trimmed := bytes.TrimSpace(raw)
	return len(trimmed) == 0 || string(trimmed) == "null"
}

func isEmptyArray(raw json.RawMessage) bool {
	var items []json.RawMessage
	return json.Unmarshal(raw, &items) == nil && len(items) == 0
}

func orNull(raw json.RawMessage) json.RawMessage {
	if isNull(raw) {
		return json.RawMessage("null")
	}
	return raw
}
