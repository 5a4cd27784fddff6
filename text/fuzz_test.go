package text

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
)

// openDamaged opens a folder with such a tokenizer.json and uses what comes out.
func openDamaged(t *testing.T, dir string, tokenizerJSON []byte) error {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), tokenizerJSON, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := OpenFolder(dir)
	if err != nil {
		if !fault.Is(err, fault.ModelLoad) && !fault.Is(err, fault.Tokenizer) {
			t.Errorf("%v is of kind %s", err, fault.KindOf(err))
		}
		if !strings.Contains(err.Error(), "tokenizer.json") {
			t.Errorf("%q does not name the file", err)
		}
		return err
	}
	defer m.Close()
	ids, err := m.Tokenizer.Encode("Hello, wörld! 123\n", true)
	if err != nil {
		return nil // a tokenizer that cannot encode this text says so
	}
	_, _ = m.Tokenizer.Decode(ids, false) // only a crash would be wrong
	return nil
}

func TestDamagedTokenizers(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(4, 5))
	for _, name := range []string{"byte_level", "sentence_piece"} {
		whole, err := os.ReadFile("testdata/" + name + ".tokenizer.json")
		if err != nil {
			t.Fatal(err)
		}
		failures := 0
		const rounds = 60
		for range rounds {
			damaged, at := slices.Clone(whole), random.IntN(len(whole))
			switch random.IntN(3) {
			case 0:
				damaged = damaged[:at]
			case 1:
				damaged[at] ^= 1 << random.IntN(8)
			default:
				damaged = slices.Delete(damaged, at, min(at+1+random.IntN(40), len(damaged)))
			}
			if openDamaged(t, dir, damaged) != nil {
				failures++
			}
		}
		if failures < rounds/4 {
			t.Errorf("%s: only %d of %d damages were noticed", name, failures, rounds)
		}
	}
}

func FuzzOpenFolder(f *testing.F) {
	f.Add([]byte(`{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0,"b":1},"unk_token":"a"}}`))
	f.Add([]byte(`{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]},"added_tokens":[{"id":3,"content":"<s>","special":true}]}`))
	f.Add([]byte(`{"version":"1.0","model":{"type":"Unigram","unk_id":9,"vocab":[["a",-1.5],["b",0]]},"pre_tokenizer":{"type":"Metaspace"}}`))
	f.Add([]byte(`{"version":"1.0","model":{"type":"WordPiece","vocab":{"[UNK]":0},"unk_token":"[UNK]","max_input_chars_per_word":-1}}`))
	f.Add([]byte(`{"version":"1.0","normalizer":{"type":"Replace","pattern":{"Regex":"("},"content":""},"model":{"vocab":{}}}`))
	f.Add([]byte(`{"added_tokens":[{"id":4294967295,"content":""}],"model":{"type":"BPE","vocab":{"a":4294967295},"merges":["a"]}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, tokenizerJSON []byte) { _ = openDamaged(t, dir, tokenizerJSON) })
}
