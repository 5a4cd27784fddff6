package text

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The golden files come from testdata/make_goldens.py: the reference implementations in
// Python over tokenizers trained there.

// tokenizerGolden is what the reference makes of a corpus with one tokenizer.
type tokenizerGolden struct {
	Cases []struct {
		Text     string  `json:"text"`
		IDs      []int32 `json:"ids"`      // without BOS and EOS
		Special  []int32 `json:"special"`  // with them
		Decoded  string  `json:"decoded"`  // of Special
		Skipped  string  `json:"skipped"`  // of Special without special tokens
		Streamed *string `json:"streamed"` // of IDs by mlx-lm, nil where it has no rule
	} `json:"cases"`
	Streams []struct {
		IDs      []int32 `json:"ids"`
		Streamed string  `json:"streamed"`
	} `json:"streams"`
}

func readGolden(t testing.TB, name string, target any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, target); err != nil {
		t.Fatal(err)
	}
}

func loadTestTokenizer(t testing.TB, name string) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := LoadTokenizerJSON(data, TokenizerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokenizer.Close)
	return tokenizer
}

// stream joins what a detokenizer emits, and checks that each piece is whole UTF-8.
func stream(t testing.TB, tokenizer *Tokenizer, ids []int32, skipSpecial bool) string {
	t.Helper()
	d := tokenizer.NewDetokenizer(skipSpecial)
	var text strings.Builder
	for _, id := range ids {
		piece := d.Push(id)
		if !utf8.ValidString(piece) {
			t.Fatalf("ids %v: piece %q is not UTF-8", ids, piece)
		}
		text.WriteString(piece)
	}
	text.WriteString(d.Flush())
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func checkGolden(t *testing.T, tokenizer *Tokenizer, golden *tokenizerGolden) {
	t.Helper()
	if len(golden.Cases) == 0 {
		t.Fatal("the golden file has no cases")
	}
	for _, c := range golden.Cases {
		for _, want := range []struct {
			ids        []int32
			addSpecial bool
		}{{c.IDs, false}, {c.Special, true}} {
			got, err := tokenizer.Encode(c.Text, want.addSpecial)
			if err != nil || !slices.Equal(got, want.ids) {
				t.Errorf("Encode(%q, %v) = %v, %v; want %v", c.Text, want.addSpecial, got, err, want.ids)
			}
		}
		if got, err := tokenizer.Decode(c.Special, false); err != nil || got != c.Decoded {
			t.Errorf("Decode(%v) = %q, %v; want %q", c.Special, got, err, c.Decoded)
		}
		if got, err := tokenizer.Decode(c.Special, true); err != nil || got != c.Skipped {
			t.Errorf("Decode(%v, skip) = %q, %v; want %q", c.Special, got, err, c.Skipped)
		}
		if c.Streamed != nil {
			if got := stream(t, tokenizer, c.IDs, false); got != *c.Streamed {
				t.Errorf("streamed %v = %q, want %q", c.IDs, got, *c.Streamed)
			}
		}
	}
	for _, s := range golden.Streams {
		if got := stream(t, tokenizer, s.IDs, false); got != s.Streamed {
			t.Errorf("streamed %v = %q, want %q", s.IDs, got, s.Streamed)
		}
	}
}

func TestTokenizerJSONEqualsReference(t *testing.T) {
	for _, name := range []string{"byte_level", "sentence_piece", "sentence_piece_no_prefix", "unigram", "wordpiece"} {
		t.Run(name, func(t *testing.T) {
			var golden tokenizerGolden
			readGolden(t, name+".golden.json", &golden)
			checkGolden(t, loadTestTokenizer(t, name), &golden)
		})
	}
}

func TestSmolLM2VocabularyEqualsReference(t *testing.T) {
	var golden tokenizerGolden
	readGolden(t, "smollm2.golden.json", &golden)
	checkGolden(t, smolLM2Tokenizer(t), &golden)
}

func TestGGUFPreTokenizersEqualReference(t *testing.T) {
	var golden struct {
		Tokens   []string             `json:"tokens"`
		Types    []int32              `json:"types"`
		Merges   []string             `json:"merges"`
		BOS      int32                `json:"bos"`
		Corpus   []string             `json:"corpus"`
		Families map[string][][]int32 `json:"families"`
	}
	readGolden(t, "families.golden.json", &golden)
	for pre, want := range golden.Families {
		t.Run(pre, func(t *testing.T) {
			tokenizer, err := LoadGGUFVocab(GGUFVocab{
				Model: "gpt2", Pre: pre, Tokens: golden.Tokens, Types: golden.Types, Merges: golden.Merges,
				BOS: golden.BOS, EOS: -1, UNK: -1, PAD: -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer tokenizer.Close()
			for i, text := range golden.Corpus {
				got, err := tokenizer.Encode(text, true)
				if err != nil || !slices.Equal(got, want[i]) {
					t.Errorf("Encode(%q) = %v, %v; want %v", text, got, err, want[i])
				}
			}
		})
	}
}

// sentencePieceVocab is a SentencePiece vocabulary as a GGUF file stores it.
func sentencePieceVocab(t testing.TB) GGUFVocab {
	t.Helper()
	v := GGUFVocab{Model: "llama", Pre: "default", BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	var golden struct {
		Tokens []string  `json:"tokens"`
		Scores []float32 `json:"scores"`
		Types  []int32   `json:"types"`
	}
	readGolden(t, "sentence_piece.vocab.json", &golden)
	v.Tokens, v.Scores, v.Types = golden.Tokens, golden.Scores, golden.Types
	return v
}

func TestGGUFSentencePieceEqualsReference(t *testing.T) {
	for name, prefix := range map[string]*bool{"sentence_piece": nil, "sentence_piece_no_prefix": new(bool)} {
		t.Run(name, func(t *testing.T) {
			v := sentencePieceVocab(t)
			v.AddSpacePrefix = prefix
			tokenizer, err := LoadGGUFVocab(v)
			if err != nil {
				t.Fatal(err)
			}
			defer tokenizer.Close()
			var golden tokenizerGolden
			readGolden(t, name+".golden.json", &golden)
			checkGolden(t, tokenizer, &golden)
		})
	}
}
