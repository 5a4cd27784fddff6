package text

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"mlx-worker/internal/fault"
)

// Model is one model's text side. It is safe for concurrent use; Close frees it.
type Model struct {
	Tokenizer     *Tokenizer
	Template      *Template         // nil: the model has none
	EOSIDs        []int32           // every id that ends a generation, ascending
	SpecialTokens map[string]string // "bos_token" … and their texts, for templates
}

// OpenGGUF builds a model's text side from a GGUF file's metadata. chatTemplate may be
// empty. extraEOS are further ids that end a turn (eot, eom); negative ones are left out.
func OpenGGUF(v GGUFVocab, chatTemplate string, extraEOS []int32) (*Model, error) {
	tokenizer, err := LoadGGUFVocab(v)
	if err != nil {
		return nil, err
	}
	m := &Model{Tokenizer: tokenizer, SpecialTokens: tokenizer.special}
	if chatTemplate != "" {
		m.Template = modelTemplate(map[string]string{"default": chatTemplate})
	}
	m.EOSIDs = tokenizer.endIDs(extraEOS)
	return m, nil
}

// RenderChat renders the model's template with its special tokens and, as mlx-lm does,
// with enable_thinking set to whether the vocabulary has markers for it; o.SpecialTokens
// and o.Kwargs win over both.
func (m *Model) RenderChat(o RenderOptions) (string, error) {
	if m.Template == nil {
		return "", fault.New(fault.Unsupported, "the model has no chat template").With("what", "chat template")
	}
	if o.SpecialTokens == nil {
		o.SpecialTokens = m.SpecialTokens
	}
	kwargs := map[string]json.RawMessage{}
	if isNull(o.Kwargs) || json.Unmarshal(o.Kwargs, &kwargs) == nil {
		if _, given := kwargs["enable_thinking"]; !given {
			value, _ := json.Marshal(m.Tokenizer.HasThinking()) // a bool cannot fail
			kwargs["enable_thinking"] = value
			o.Kwargs, _ = json.Marshal(kwargs) // nor can valid raw messages
		}
	}
	return m.Template.Render(o)
}

// Close frees the tokenizer and the template. Closing twice is harmless.
func (m *Model) Close() {
	m.Tokenizer.Close()
	if m.Template != nil {
		m.Template.Close()
	}
}

// modelTemplate compiles a model's named templates, of which "default" must be one. One
// that does not compile fails when it is used, so that the model serves what needs none.
func modelTemplate(sources map[string]string) *Template {
	t := lazyTemplate(sources["default"])
	if toolUse, ok := sources["tool_use"]; ok {
		t.toolUse = lazyTemplate(toolUse)
	}
	return t
}

func lazyTemplate(source string) *Template {
	t, err := ParseTemplate(source)
	if err != nil {
		return &Template{err: err}
	}
	return t
}

// endOfTurn are the usual texts of tokens that end a turn.
var endOfTurn = []string{
	"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<turn|>", "<eos>",
	"<|endoftext|>", "<|end_of_text|>", "<EOT>", "[EOT]", "<end_of_utterance>", "<｜end▁of▁sentence｜>",
}

// endIDs is the ascending union of the given ids, the tokenizer's EOS, and the usual
// end-of-turn texts that are special tokens of the vocabulary.
func (t *Tokenizer) endIDs(ids []int32) []int32 {
	set := map[int32]bool{}
	for _, id := range append(t.EOSIDs(), ids...) {
		if id >= 0 {
			set[id] = true
		}
	}
	// In the harmony format <|end|> only ends a message: the answer may follow it.
	_, harmony := t.TokenID("<|return|>")
	for _, text := range endOfTurn {
		if text == "<|end|>" && harmony {
			continue
		}
		if id, ok := t.native.id(text, true); ok {
			set[id] = true
		}
	}
	return sortedKeys(set)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// nonNil makes an empty list [] in JSON, not null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func nonNilMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
