package text

import (
	"os"
	"slices"
	"testing"
)

// What transformers 5.23 makes of "  a</s> b</s>c" with a SentencePiece file from before its
// class LlamaTokenizer, whose normalizer puts a space before every piece of text.
func TestLlamaTokenizerReplacesTheFilesPipeline(t *testing.T) {
	file, err := os.ReadFile("testdata/sentence_piece.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	first := []int32{393, 261, 2, 264, 2, 427}
	asWritten := []int32{393, 393, 261, 2, 393, 264, 2, 363}
	for name, c := range map[string]struct {
		config, model string
		want          []int32
		decoded       string
	}{
		"new":          {`{"tokenizer_class": "LlamaTokenizer", "legacy": false}`, "llama", first, " a</s> b</s>c"},
		"fast":         {`{"tokenizer_class": "LlamaTokenizerFast"}`, "llama", first, " a</s> b</s>c"},
		"legacy":       {`{"tokenizer_class": "LlamaTokenizer", "legacy": true}`, "llama", []int32{393, 261, 2, 264, 2, 363}, " a</s> b</s> c"},
		"no prefix":    {`{"tokenizer_class": "LlamaTokenizer", "add_prefix_space": false}`, "llama", first, "  a</s> b</s>c"},
		"no model":     {`{"tokenizer_class": "LlamaTokenizer", "legacy": null}`, "", first, " a</s> b</s>c"},
		"mistral":      {`{"tokenizer_class": "LlamaTokenizer", "legacy": false}`, "mistral", asWritten, "  a</s>  b</s> c"},
		"other class":  {`{"tokenizer_class": "PreTrainedTokenizerFast"}`, "llama", asWritten, "  a</s>  b</s> c"},
		"class absent": {`{}`, "llama", asWritten, "  a</s>  b</s> c"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openFolder(t, map[string]string{
				"tokenizer.json": string(file), "tokenizer_config.json": c.config, "config.json": `{"model_type": "` + c.model + `"}`,
			})
			ids := encode(t, m.Tokenizer, "  a</s> b</s>c", false)
			if !slices.Equal(ids, c.want) {
				t.Errorf("ids %v, want %v", ids, c.want)
			}
			if got := decode(t, m.Tokenizer, ids, false); got != c.decoded {
				t.Errorf("decoded %q, want %q", got, c.decoded)
			}
		})
	}
}

func TestLlamaTokenizerLeavesByteLevelFilesAlone(t *testing.T) {
	plain := loadTestTokenizer(t, "byte_level")
	m := openFolder(t, map[string]string{"tokenizer_config.json": `{"tokenizer_class": "LlamaTokenizerFast"}`})
	const text = " Über  12 ships\n"
	if got, want := encode(t, m.Tokenizer, text, true), encode(t, plain, text, true); !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
}
