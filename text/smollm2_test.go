package text

import (
	"os"
	"sync"
	"testing"

	"mlx-worker/internal/gguf"
)

const smolLM2File = "../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

var smolLM2 = sync.OnceValues(func() (GGUFVocab, error) { return readVocab(smolLM2File) })

// readVocab reads the tokenizer metadata of a GGUF file.
func readVocab(path string) (GGUFVocab, error) {
	v := GGUFVocab{BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	file, err := gguf.Open(path)
	if err != nil {
		return v, err
	}
	defer file.Close()
	for key, get := range map[string]func(string) error{
		"model":            into(file, &v.Model),
		"pre":              into(file, &v.Pre),
		"tokens":           into(file, &v.Tokens),
		"scores":           into(file, &v.Scores),
		"token_type":       into(file, &v.Types),
		"merges":           into(file, &v.Merges),
		"bos_token_id":     into(file, &v.BOS),
		"eos_token_id":     into(file, &v.EOS),
		"unknown_token_id": into(file, &v.UNK),
		"padding_token_id": into(file, &v.PAD),
	} {
		if err := get("tokenizer.ggml." + key); err != nil {
			return v, err
		}
	}
	for key, flag := range map[string]**bool{
		"add_bos_token": &v.AddBOS, "add_eos_token": &v.AddEOS, "add_space_prefix": &v.AddSpacePrefix,
	} {
		value, ok, err := gguf.Get[bool](file, "tokenizer.ggml."+key)
		if err != nil {
			return v, err
		}
		if ok {
			*flag = &value
		}
	}
	return v, nil
}

// into returns a function that sets target if the file has the key.
func into[T gguf.Gettable](file *gguf.File, target *T) func(key string) error {
	return func(key string) error {
		value, ok, err := gguf.Get[T](file, key)
		if ok {
			*target = value
		}
		return err
	}
}

// smolLM2Vocab is the vocabulary of the real test model.
func smolLM2Vocab(t testing.TB) GGUFVocab {
	t.Helper()
	if _, err := os.Stat(smolLM2File); err != nil {
		t.Skipf("the test model is missing (make model): %v", err)
	}
	v, err := smolLM2()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func smolLM2Tokenizer(t testing.TB) *Tokenizer {
	t.Helper()
	tokenizer, err := LoadGGUFVocab(smolLM2Vocab(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokenizer.Close)
	return tokenizer
}
