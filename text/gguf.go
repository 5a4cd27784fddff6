package text

import (
	"encoding/json"
	"unicode/utf8"

	"mlx-worker/internal/fault"
)

// GGUFVocab is the vocabulary of a GGUF file, plain data from its metadata
// (tokenizer.ggml.*).
type GGUFVocab struct {
	Model, Pre         string    // "gpt2" or "llama"; the pre-tokenizer's name ("smollm", "llama-bpe", …)
	Tokens             []string  // by id
	Scores             []float32 // empty, or one per token
	Types              []int32   // empty, or one per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
	Merges             []string  // "left right", best first
	BOS, EOS, UNK, PAD int32     // -1: absent
	// nil: the vocabulary type's default.
	AddBOS, AddEOS, AddSpacePrefix *bool
}

const (
	ggufTypeUnknown = 2
	ggufTypeControl = 3
)

// LoadGGUFVocab builds the tokenizer that a GGUF vocabulary describes, with the ids of
// the Hugging Face tokenizer that it was converted from. The vocabulary's types are
// byte-level BPE ("gpt2") and SentencePiece ("llama"). An unknown Model or Pre is a
// fault.Unsupported that names it and what is accepted.
func LoadGGUFVocab(v GGUFVocab) (*Tokenizer, error) {
	for i, token := range v.Tokens {
		if !utf8.ValidString(token) {
			return nil, fault.New(fault.Tokenizer, "load GGUF vocabulary: tokenizer.ggml.tokens entry %d is not UTF-8", i)
		}
	}
	v.setSentencePieceDefaults()
	header, err := json.Marshal(map[string]any{
		"model": v.Model, "pre": v.Pre,
		"bos": optionalID(v.BOS), "eos": optionalID(v.EOS), "unk": optionalID(v.UNK),
		"add_bos": v.AddBOS, "add_eos": v.AddEOS, "add_space_prefix": v.AddSpacePrefix,
	})
	if err != nil {
		return nil, fault.New(fault.Tokenizer, "load GGUF vocabulary: %w", err)
	}
	native, err := tokenizerFromGGUF(header, &v)
	if err != nil {
		return nil, err
	}
	special := map[string]string{}
	for name, id := range map[string]int32{
		"bos_token": v.BOS, "eos_token": v.EOS, "unk_token": v.UNK, "pad_token": v.PAD,
	} {
		if id >= 0 && int(id) < len(v.Tokens) {
			special[name] = v.Tokens[id]
		}
	}
	return &Tokenizer{native: native, special: special}, nil
}

// setSentencePieceDefaults fills in the ids that SentencePiece always uses, for files
// that leave them out.
func (v *GGUFVocab) setSentencePieceDefaults() {
	if v.Model != "llama" {
		return
	}
	for _, d := range []struct {
		id             *int32
		standard, kind int32
	}{{&v.UNK, 0, ggufTypeUnknown}, {&v.BOS, 1, ggufTypeControl}, {&v.EOS, 2, ggufTypeControl}} {
		if *d.id < 0 && int(d.standard) < len(v.Types) && v.Types[d.standard] == d.kind {
			*d.id = d.standard
		}
	}
}

// optionalID is an id in JSON, null where it is absent.
func optionalID(id int32) any {
	if id < 0 {
		return nil
	}
	return id
}
