package text

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// realTokenizerGolden is what Python's tokenizers make of the corpus with a real tokenizer:
// see parity/make_tokenizer_goldens.py.
type realTokenizerGolden struct {
	File                string          `json:"file"`
	VocabSize           int             `json:"vocab_size"`
	Plain               digests         `json:"plain"`   // ids without special tokens
	Special             digests         `json:"special"` // ids with them
	Decoded             digests         `json:"decoded"` // of those
	Skipped             digests         `json:"skipped"` // of those without special tokens
	Random              digests         `json:"random"`  // decoded, of sequences that no text gives
	IDs                 map[int][]int32 `json:"ids"`     // some of Plain in full
	Transformers        digests         `json:"transformers"`
	TransformersDecoded digests         `json:"transformers_decoded"`
	EOS                 int32           `json:"eos"`
}

// digests are eight hex digits a text.
type digests string

func (d digests) at(i int) string { return string(d[8*i : 8*i+8]) }

func shortDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:4])
}

func digestIDs(ids []int32) string {
	data := []byte{}
	for _, id := range ids {
		data = binary.LittleEndian.AppendUint32(data, uint32(id))
	}
	return shortDigest(data)
}

// corpusText is a text of the corpus: itself, bytes that are no UTF-8, or a long repetition.
type corpusText string

func (c *corpusText) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*string)(c)); err == nil {
		return nil
	}
	var entry struct {
		Hex    string `json:"hex"`
		Repeat string `json:"repeat"`
		Times  int    `json:"times"`
	}
	if err := json.Unmarshal(data, &entry); err != nil {
		return err
	}
	raw, err := hex.DecodeString(entry.Hex)
	*c = corpusText(raw) + corpusText(strings.Repeat(entry.Repeat, entry.Times))
	return err
}

func TestRealTokenizersEqualPython(t *testing.T) {
	skipWithoutParityFiles(t)
	var corpus []corpusText
	readGolden(t, "../../parity/tokenizer_goldens/corpus.json", &corpus)
	if len(corpus) < 700 {
		t.Fatalf("%d texts, want at least 700", len(corpus))
	}
	files, err := filepath.Glob("../parity/tokenizer_goldens/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("golden files %v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if name == "corpus" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var golden realTokenizerGolden
			readGolden(t, "../"+file, &golden)
			checkRealTokenizer(t, filepath.Join(parityFolder, "tokenizers", name), corpus, &golden)
		})
	}
}

func checkRealTokenizer(t *testing.T, folder string, corpus []corpusText, golden *realTokenizerGolden) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := shortDigest(data); got != golden.File {
		t.Fatalf("tokenizer.json is not that of the golden file: %s, want %s", got, golden.File)
	}
	tokenizer, err := LoadTokenizerJSON(data, TokenizerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tokenizer.Close()
	if got := tokenizer.VocabSize(); got != golden.VocabSize {
		t.Errorf("vocabulary of %d, want %d", got, golden.VocabSize)
	}
	for i, text := range corpus {
		checkRealText(t, tokenizer, i, string(text), golden)
	}
	for i, ids := range randomIDs(golden.VocabSize) {
		if text := decode(t, tokenizer, ids, false); shortDigest([]byte(text)) != golden.Random.at(i) {
			t.Errorf("Decode(%v) = %q is not Python's", ids, text)
		}
	}
	if golden.Transformers != "" {
		checkRealFolder(t, folder, corpus, golden)
	}
}

// checkRealText compares one text with Python, and its stream with its whole decoding.
func checkRealText(t *testing.T, tokenizer *Tokenizer, i int, text string, golden *realTokenizerGolden) {
	t.Helper()
	name := fmt.Sprintf("text %d, %.60q", i, text)
	plain, special := encode(t, tokenizer, text, false), encode(t, tokenizer, text, true)
	if full, ok := golden.IDs[i]; ok && !slices.Equal(plain, full) {
		t.Errorf("%s: ids %v, want %v", name, plain, full)
	}
	if digestIDs(plain) != golden.Plain.at(i) {
		t.Errorf("%s: other ids than Python's: %.200v", name, plain)
	}
	if digestIDs(special) != golden.Special.at(i) {
		t.Errorf("%s: other ids with special tokens than Python's: %.200v", name, special)
	}
	decoded := decode(t, tokenizer, special, false)
	if shortDigest([]byte(decoded)) != golden.Decoded.at(i) {
		t.Errorf("%s: decoded to %.200q, which is not Python's", name, decoded)
	}
	skipped := decode(t, tokenizer, special, true)
	if shortDigest([]byte(skipped)) != golden.Skipped.at(i) {
		t.Errorf("%s: decoded without special tokens to %.200q, which is not Python's", name, skipped)
	}
	for _, skip := range []bool{false, true} {
		whole, streamed := decode(t, tokenizer, plain, skip), stream(t, tokenizer, plain, skip)
		switch tokenizer.native.info.Joining { // the streams' rules for spaces before the first word
		case joiningByteLevel:
			whole = strings.TrimPrefix(whole, " ")
		case joiningSentencePieceStrip:
			whole, streamed = strings.TrimLeft(whole, " "), strings.TrimLeft(streamed, " ")
		}
		if streamed != whole {
			t.Errorf("%s: streamed %.200q, decoded %.200q", name, streamed, whole)
		}
	}
}

// checkRealFolder compares the folder as a model's with transformers' reading of it.
func checkRealFolder(t *testing.T, folder string, corpus []corpusText, golden *realTokenizerGolden) {
	t.Helper()
	model, err := OpenFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if ends := model.Tokenizer.EOSIDs(); golden.EOS > 0 && !slices.Equal(ends, []int32{golden.EOS}) {
		t.Errorf("EOS %v, want %d", ends, golden.EOS)
	}
	for i, text := range corpus {
		ids := encode(t, model.Tokenizer, string(text), true)
		if digestIDs(ids) != golden.Transformers.at(i) {
			t.Errorf("text %d, %.60q: other ids than transformers': %.200v", i, text, ids)
			continue
		}
		if decoded := decode(t, model.Tokenizer, ids, false); shortDigest([]byte(decoded)) != golden.TransformersDecoded.at(i) {
			t.Errorf("text %d, %.60q: decoded to %.200q, which is not transformers'", i, text, decoded)
		}
	}
}

func encode(t testing.TB, tokenizer *Tokenizer, text string, addSpecial bool) []int32 {
	t.Helper()
	ids, err := tokenizer.Encode(text, addSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t testing.TB, tokenizer *Tokenizer, ids []int32, skipSpecial bool) string {
	t.Helper()
	text, err := tokenizer.Decode(ids, skipSpecial)
	if err != nil || !utf8.ValidString(text) {
		t.Fatalf("Decode(%v) = %q, %v", ids, text, err)
	}
	return text
}

// randomIDs are the sequences of make_tokenizer_goldens.py's function of that name.
func randomIDs(size int) [][]int32 {
	state := uint64(1)
	sequences := make([][]int32, 200)
	for n := range sequences {
		for range 1 + n%12 {
			state = state*6364136223846793005 + 1442695040888963407
			limit := uint64(size)
			if n%2 == 1 {
				limit = min(limit, 512)
			}
			sequences[n] = append(sequences[n], int32((state>>33)%limit))
		}
	}
	return sequences
}

func TestRealModelsEndTokens(t *testing.T) {
	skipWithoutParityFiles(t)
	for name, want := range map[string][]string{
		"llama-3.2":    {"<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"},
		"qwen3":        {"<|endoftext|>", "<|im_end|>"},
		"gemma-3":      {"<eos>", "<end_of_turn>"},
		"gpt-oss":      {"<|endoftext|>", "<|return|>", "<|call|>"}, // <|end|> only ends a message
		"deepseek-v3":  {"<｜end▁of▁sentence｜>"},
		"mistral-nemo": {"</s>"},
		"llama-2":      {"</s>"},
	} {
		model, err := OpenFolder(filepath.Join(parityFolder, "tokenizers", name))
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		got := []string{}
		for _, id := range model.EOSIDs {
			text, _ := model.Tokenizer.TokenString(id)
			got = append(got, text)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s ends with %q, want %q", name, got, want)
		}
	}
}
