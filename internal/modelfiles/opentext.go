package modelfiles

import (
	"os"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/text"
)

// OpenText opens the tokenizer and chat template of the model at path, as Resolve returns it:
// from a folder's files, or from a GGUF file's metadata. Errors are *fault.Error of kind
// ModelLoad or Tokenizer. The caller closes the model.
func OpenText(path string) (*text.Model, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, unreadable("the model", err)
	}
	if stat.IsDir() {
		return text.OpenFolder(path)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	vocab, err := readVocab(f)
	if err != nil {
		return nil, err
	}
	m := metadata{file: f}
	template := get[string](&m, "tokenizer.chat_template")
	// The ends of a turn and of a message, where they are not the end of the text.
	var extraEOS []int32
	for _, key := range []string{"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id := m.tokenID(key, len(vocab.Tokens)); id >= 0 {
			extraEOS = append(extraEOS, id)
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	return text.OpenGGUF(vocab, template, extraEOS)
}

// readVocab reads the vocabulary of a GGUF file's metadata.
func readVocab(f *gguf.File) (text.GGUFVocab, error) {
	m := metadata{file: f}
	v := text.GGUFVocab{
		Model:          get[string](&m, "tokenizer.ggml.model"),
		Pre:            get[string](&m, "tokenizer.ggml.pre"),
		Tokens:         get[[]string](&m, "tokenizer.ggml.tokens"),
		Scores:         get[[]float32](&m, "tokenizer.ggml.scores"),
		Types:          get[[]int32](&m, "tokenizer.ggml.token_type"),
		Merges:         get[[]string](&m, "tokenizer.ggml.merges"),
		AddBOS:         m.flag("tokenizer.ggml.add_bos_token"),
		AddEOS:         m.flag("tokenizer.ggml.add_eos_token"),
		AddSpacePrefix: m.flag("tokenizer.ggml.add_space_prefix"),
	}
	n := len(v.Tokens)
	v.BOS = m.tokenID("tokenizer.ggml.bos_token_id", n)
	v.EOS = m.tokenID("tokenizer.ggml.eos_token_id", n)
	v.UNK = m.tokenID("tokenizer.ggml.unknown_token_id", n)
	v.PAD = m.tokenID("tokenizer.ggml.padding_token_id", n)
	switch {
	case m.err != nil:
		return text.GGUFVocab{}, m.err
	case v.Model == "":
		return text.GGUFVocab{}, m.errorf("the file has no tokenizer: tokenizer.ggml.model is missing")
	case n == 0:
		return text.GGUFVocab{}, m.errorf("the vocabulary is empty: tokenizer.ggml.tokens")
	case v.Scores != nil && len(v.Scores) != n:
		return text.GGUFVocab{}, m.errorf("tokenizer.ggml.scores has %d elements for %d tokens", len(v.Scores), n)
	case v.Types != nil && len(v.Types) != n:
		return text.GGUFVocab{}, m.errorf("tokenizer.ggml.token_type has %d elements for %d tokens", len(v.Types), n)
	}
	return v, nil
}

// metadata reads values of a file; the first error is kept.
type metadata struct {
	file *gguf.File
	err  error
}

func (m *metadata) errorf(format string, args ...any) error {
	return fault.New(fault.Tokenizer, "%s: "+format, append([]any{m.file.Name()}, args...)...).With("file", m.file.Name())
}

// get returns the value of key, zero if it is absent.
func get[T gguf.Gettable](m *metadata, key string) T {
	v, _, err := gguf.Get[T](m.file, key)
	if err != nil && m.err == nil {
		m.err = err
	}
	return v
}

// flag returns nil if key is absent.
func (m *metadata) flag(key string) *bool {
	v, ok, err := gguf.Get[bool](m.file, key)
	if err != nil && m.err == nil {
		m.err = err
	}
	if !ok {
		return nil
	}
	return &v
}

// tokenID returns -1 if key is absent. Some writers store an absent id as all ones.
func (m *metadata) tokenID(key string, vocabulary int) int32 {
	id, ok, err := gguf.Get[int64](m.file, key)
	if err != nil && m.err == nil {
		m.err = err
	}
	switch {
	case !ok || err != nil || id == -1 || id == 1<<32-1:
		return -1
	case id < 0 || id >= int64(vocabulary):
		if m.err == nil {
			m.err = m.errorf("%s is %d; the vocabulary has %d tokens", key, id, vocabulary)
		}
		return -1
	}
	return int32(id)
}
