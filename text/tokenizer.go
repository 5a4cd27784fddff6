package text

import (
	"encoding/json"
	"slices"
	"strings"

	"mlx-worker/internal/fault"
)

// Tokenizer turns text into token ids and back. It is safe for concurrent use. Close
// frees its native memory.
type Tokenizer struct {
	native  *nativeTokenizer
	special map[string]string // names of special tokens ("bos_token") to their texts
	cleanUp bool              // Decode cleans up spaces as transformers does
}

// TokenizerOptions is what tokenizer_config.json decides beside tokenizer.json.
type TokenizerOptions struct {
	// SpecialTokens maps names ("bos_token", "eos_token", "pad_token", "image_token", …) to
	// texts. They are made special tokens, and added to the vocabulary if they are new.
	SpecialTokens map[string]string
	// ExtraSpecialTokens are special tokens without a name.
	ExtraSpecialTokens []string
	// AddedTokens are the config's added_tokens_decoder by ascending id: tokens to add,
	// or whose matching rules replace those in tokenizer.json.
	AddedTokens []AddedToken
	// CleanUpTokenizationSpaces lets Decode remove the spaces before punctuation. As in
	// transformers it has no effect on BPE, whose text it would damage.
	CleanUpTokenizationSpaces bool
}

// AddedToken is a token matched in the text before the model's own splitting.
type AddedToken struct {
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// LoadTokenizerJSON loads a tokenizer.json of Hugging Face's tokenizers library. Stored
// padding and truncation are switched off; what cannot be represented is refused.
func LoadTokenizerJSON(data []byte, opts TokenizerOptions) (*Tokenizer, error) {
	options, err := json.Marshal(map[string]any{
		"added_tokens":   nonNil(opts.AddedTokens),
		"special_tokens": opts.specialTexts(),
	})
	if err != nil {
		return nil, fault.New(fault.Tokenizer, "load tokenizer.json: options: %w", err)
	}
	native, err := tokenizerFromJSON(data, options)
	if err != nil {
		return nil, err
	}
	return &Tokenizer{
		native:  native,
		special: opts.SpecialTokens,
		cleanUp: opts.CleanUpTokenizationSpaces && native.info.Model != "BPE",
	}, nil
}

// standardNames are transformers' names of special tokens. New ones get ids in this order.
var standardNames = []string{
	"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
}

// specialTexts lists the special tokens' texts in the order in which transformers adds
// those that are new: the standard names, other names, tokens without a name.
func (o *TokenizerOptions) specialTexts() []string {
	others := slices.DeleteFunc(sortedKeys(o.SpecialTokens), func(name string) bool {
		return slices.Contains(standardNames, name)
	})
	texts := []string{}
	for _, name := range slices.Concat(standardNames, others) {
		if text := o.SpecialTokens[name]; text != "" {
			texts = append(texts, text)
		}
	}
	return append(texts, o.ExtraSpecialTokens...)
}

// Encode returns the ids of s. Texts of special tokens inside s become those tokens.
// addSpecial adds BOS and EOS as the tokenizer defines. Invalid UTF-8 is read as U+FFFD.
func (t *Tokenizer) Encode(s string, addSpecial bool) ([]int32, error) {
	return t.native.encode(s, addSpecial)
}

// EncodePrompt encodes a prompt as mlx-lm does: special tokens are added unless s already
// begins with the text of BOS.
func (t *Tokenizer) EncodePrompt(s string) ([]int32, error) {
	bos := t.special["bos_token"]
	return t.Encode(s, bos == "" || !strings.HasPrefix(s, bos))
}

// Decode returns the text of ids. Ids beyond the vocabulary, which models with a padded
// output layer can produce, add nothing; a negative id is an error. skipSpecial leaves
// special tokens out.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) (string, error) {
	if i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 }); i >= 0 {
		return "", fault.New(fault.Tokenizer, "decode: id %d at position %d is negative", ids[i], i)
	}
	text, err := t.native.decode(ids, skipSpecial)
	if err == nil && t.cleanUp {
		text = cleanUpSpaces(text)
	}
	return text, err
}

// cleanUpSpaces is transformers' clean_up_tokenization; the order matters.
func cleanUpSpaces(s string) string {
	for _, r := range [][2]string{
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
		{" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
	} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}

// TokenString returns the vocabulary entry of id, in the vocabulary's own spelling
// ("Ġthe", "▁the", "<|im_end|>"); false if there is none.
func (t *Tokenizer) TokenString(id int32) (string, bool) {
	if id < 0 {
		return "", false
	}
	return t.native.entry(id)
}

// TokenID returns the id of a vocabulary entry.
func (t *Tokenizer) TokenID(s string) (int32, bool) { return t.native.id(s, false) }

// VocabSize is the number of tokens, added ones included. A model's output layer may be
// larger.
func (t *Tokenizer) VocabSize() int { return t.native.info.VocabSize }

// BOS returns the token that begins a text; false if the tokenizer has none.
func (t *Tokenizer) BOS() (id int32, text string, ok bool) { return t.named("bos_token") }

// EOSIDs returns the id of the tokenizer's own EOS token, or nothing. The set that ends
// a generation is Model.EOSIDs.
func (t *Tokenizer) EOSIDs() []int32 {
	if id, _, ok := t.named("eos_token"); ok {
		return []int32{id}
	}
	return nil
}

func (t *Tokenizer) named(name string) (id int32, text string, ok bool) {
	text = t.special[name]
	if text == "" {
		return 0, "", false
	}
	id, ok = t.TokenID(text)
	return id, text, ok
}

// HasThinking reports whether the vocabulary has markers for reasoning, which turns
// templates' enable_thinking on by default, as in mlx-lm.
func (t *Tokenizer) HasThinking() bool {
	for _, markers := range [][]string{
		{"<think>", "</think>"},
		{"<longcat_think>", "</longcat_think>"},
		{"<|think:start|>", "<|think:end|>"},
		{"<|channel>", "<channel|>"},
		{"<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"},
	} {
		missing := slices.ContainsFunc(markers, func(marker string) bool {
			_, ok := t.TokenID(marker)
			return !ok
		})
		if !missing {
			return true
		}
	}
	return false
}

// Close frees the tokenizer. It waits for calls under way; later ones fail. Closing
// twice is harmless.
func (t *Tokenizer) Close() { t.native.close() }
