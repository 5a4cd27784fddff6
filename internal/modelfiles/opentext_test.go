package modelfiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
	"mlx-worker/text"
)

func vocabulary() *gguftest.Builder {
	return gguftest.New().
		Set("tokenizer.ggml.model", "gpt2").Set("tokenizer.ggml.pre", "smollm").
		Set("tokenizer.ggml.tokens", []string{"<|endoftext|>", "a", "b", "ab"})
}

func vocabOf(t *testing.T, b *gguftest.Builder) (text.GGUFVocab, error) {
	t.Helper()
	f, err := gguf.Open(b.WriteFile(t, "m.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return readVocab(f)
}

func TestReadVocab(t *testing.T) {
	got, err := vocabOf(t, vocabulary())
	want := text.GGUFVocab{Model: "gpt2", Pre: "smollm", Tokens: []string{"<|endoftext|>", "a", "b", "ab"}, BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the least: %+v, %v", got, err)
	}

	got, err = vocabOf(t, vocabulary().
		Set("tokenizer.ggml.scores", []float32{0, 1, 2, 3}).Set("tokenizer.ggml.token_type", []int32{3, 1, 1, 1}).
		Set("tokenizer.ggml.merges", []string{"a b"}).
		Set("tokenizer.ggml.bos_token_id", uint32(1)).Set("tokenizer.ggml.eos_token_id", uint32(0)).
		Set("tokenizer.ggml.unknown_token_id", uint32(1<<32-1)).Set("tokenizer.ggml.padding_token_id", int32(-1)).
		Set("tokenizer.ggml.add_bos_token", false).Set("tokenizer.ggml.add_eos_token", true).Set("tokenizer.ggml.add_space_prefix", true))
	no, yes := false, true
	want = text.GGUFVocab{
		Model: "gpt2", Pre: "smollm", Tokens: want.Tokens, Scores: []float32{0, 1, 2, 3}, Types: []int32{3, 1, 1, 1}, Merges: []string{"a b"},
		BOS: 1, EOS: 0, UNK: -1, PAD: -1, AddBOS: &no, AddEOS: &yes, AddSpacePrefix: &yes,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("all: %+v, %v", got, err)
	}
}

func TestReadVocabErrors(t *testing.T) {
	for _, c := range []struct {
		builder *gguftest.Builder
		kind    fault.Kind
		want    string
	}{
		{gguftest.New(), fault.Tokenizer, "tokenizer.ggml.model is missing"},
		{gguftest.New().Set("tokenizer.ggml.model", "gpt2"), fault.Tokenizer, "vocabulary is empty"},
		{vocabulary().Set("tokenizer.ggml.scores", []float32{1}), fault.Tokenizer, "scores has 1 elements for 4 tokens"},
		{vocabulary().Set("tokenizer.ggml.token_type", []int32{1}), fault.Tokenizer, "token_type has 1 elements for 4 tokens"},
		{vocabulary().Set("tokenizer.ggml.eos_token_id", uint32(4)), fault.Tokenizer, "eos_token_id is 4; the vocabulary has 4 tokens"},
		{vocabulary().Set("tokenizer.ggml.eos_token_id", "0"), fault.ModelLoad, "not an integer"},
		{vocabulary().Set("tokenizer.ggml.merges", true), fault.ModelLoad, "not an array of strings"},
		{vocabulary().Set("tokenizer.ggml.add_bos_token", uint8(1)), fault.ModelLoad, "not a bool"},
	} {
		_, err := vocabOf(t, c.builder)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "m.gguf: ") {
			t.Errorf("error %v of kind %s, want %s with %q", err, fault.KindOf(err), c.kind, c.want)
		}
	}
}

func TestOpenTextErrors(t *testing.T) {
	dir := t.TempDir()
	for path, kind := range map[string]fault.Kind{
		filepath.Join(dir, "missing"): fault.ModelLoad,
		gguftest.New().Set("tokenizer.ggml.model", "gpt2").WriteFile(t, "m.gguf"):         fault.Tokenizer,
		vocabulary().Set("tokenizer.ggml.eot_token_id", uint32(9)).WriteFile(t, "m.gguf"): fault.Tokenizer,
		vocabulary().Set("tokenizer.chat_template", uint32(9)).WriteFile(t, "m.gguf"):     fault.ModelLoad,
	} {
		m, err := OpenText(path)
		if m != nil || !fault.Is(err, kind) || strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("OpenText: %v, %v of kind %s, want kind %s without the folder", m, err, fault.KindOf(err), kind)
		}
	}
}

// The model that `make model` fetches.
const smolLM2 = "../../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

func TestOpenTextOfSmolLM2(t *testing.T) {
	if _, err := os.Stat(smolLM2); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the test model is absent: run `make model`")
	}
	m, err := OpenText(smolLM2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Template == nil {
		t.Error("no chat template")
	}
	if got := m.Tokenizer.VocabSize(); got != 49152 {
		t.Errorf("vocabulary of %d", got)
	}
	// <|im_end|> ends a turn, <|endoftext|> the text.
	if !reflect.DeepEqual(m.EOSIDs, []int32{2}) && !reflect.DeepEqual(m.EOSIDs, []int32{0, 2}) {
		t.Errorf("EOS ids %v", m.EOSIDs)
	}
	ids, err := m.Tokenizer.Encode("Hello world", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Tokenizer.Decode(ids, false); err != nil || got != "Hello world" {
		t.Errorf("%v decodes to %q, %v", ids, got, err)
	}
}
