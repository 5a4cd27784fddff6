package text

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"mlx-worker/internal/fault"
)

func wantFault(t *testing.T, err error, kind fault.Kind, parts ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("error %v, want kind %s", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

func TestTokenizerJSONRefusals(t *testing.T) {
	model := `"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":`
	for name, c := range map[string]struct {
		json  string
		kind  fault.Kind
		parts []string
	}{
		"not JSON":           {"{", fault.Tokenizer, []string{"tokenizer.json"}},
		"unknown stage":      {`{"version":"1.0","pre_tokenizer":{"type":"MyCut"},"model":{"type":"BPE","vocab":{},"merges":[]}}`, fault.Tokenizer, nil},
		"random encoding":    {`{"version":"1.0",` + model + `{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}`, fault.Unsupported, []string{"dropout"}},
		"merge of no token":  {`{"version":"1.0",` + model + `{"type":"BPE","vocab":{"a":0,"bb":1},"merges":[["a","a"]]}}`, fault.Tokenizer, nil},
		"a library's panic":  {`{"version":"1.0",` + model + `{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}}`, fault.Tokenizer, []string{"fault in the text library", "model.rs"}},
		"not a tokenizer at": {`{"version":"1.0"}`, fault.Tokenizer, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadTokenizerJSON([]byte(c.json), TokenizerOptions{})
			wantFault(t, err, c.kind, c.parts...)
		})
	}
}

func TestGGUFRefusals(t *testing.T) {
	yes := true
	base := func() GGUFVocab {
		return GGUFVocab{Model: "gpt2", Pre: "gpt-2", Tokens: []string{"a", "b", "ab"}, Merges: []string{"a b"}, BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	}
	for name, c := range map[string]struct {
		change func(*GGUFVocab)
		kind   fault.Kind
		parts  []string
	}{
		"model":         {func(v *GGUFVocab) { v.Model = "t5" }, fault.Unsupported, []string{`"t5"`, "gpt2", "llama"}},
		"pre":           {func(v *GGUFVocab) { v.Pre = "kimi-k2" }, fault.Unsupported, []string{`"kimi-k2"`, "smollm"}},
		"no pre":        {func(v *GGUFVocab) { v.Pre = "" }, fault.Unsupported, []string{"tokenizer.ggml.pre is missing"}},
		"llama pre":     {func(v *GGUFVocab) { v.Model = "llama" }, fault.Unsupported, []string{`"gpt-2"`}},
		"flat scores":   {func(v *GGUFVocab) { v.Model, v.Pre, v.Merges, v.Scores = "llama", "", nil, make([]float32, 3) }, fault.Unsupported, []string{"scores"}},
		"no merges":     {func(v *GGUFVocab) { v.Merges = nil }, fault.Tokenizer, []string{"merges"}},
		"twice":         {func(v *GGUFVocab) { v.Tokens[1] = "a" }, fault.Tokenizer, []string{`"a" twice`}},
		"short types":   {func(v *GGUFVocab) { v.Types = []int32{1} }, fault.Tokenizer, []string{"token_type has 1 entries for 3"}},
		"BOS outside":   {func(v *GGUFVocab) { v.BOS = 3 }, fault.Tokenizer, []string{"bos_token_id 3"}},
		"BOS missing":   {func(v *GGUFVocab) { v.AddBOS = &yes }, fault.Tokenizer, []string{"add_bos_token"}},
		"empty":         {func(v *GGUFVocab) { v.Tokens = nil }, fault.Tokenizer, []string{"tokens is empty"}},
		"invalid UTF-8": {func(v *GGUFVocab) { v.Tokens[2] = "\xff" }, fault.Tokenizer, []string{"entry 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := base()
			c.change(&v)
			_, err := LoadGGUFVocab(v)
			wantFault(t, err, c.kind, c.parts...)
		})
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	tokenizer := loadTestTokenizer(t, "byte_level")
	got, err := tokenizer.Encode("a\xffb", false)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.Encode("a\ufffdb", false)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("ids %v, want %v (%v)", got, want, err)
	}
}

func TestVocabularyLookUps(t *testing.T) {
	tokenizer := smolLM2Tokenizer(t)
	if n := tokenizer.VocabSize(); n != 49152 {
		t.Errorf("VocabSize %d", n)
	}
	id, ok := tokenizer.TokenID("<|im_end|>")
	if !ok || id != 2 {
		t.Errorf("TokenID(<|im_end|>) = %d, %v", id, ok)
	}
	if s, ok := tokenizer.TokenString(2); !ok || s != "<|im_end|>" {
		t.Errorf("TokenString(2) = %q, %v", s, ok)
	}
	if s, ok := tokenizer.TokenString(28); !ok || s != "," {
		t.Errorf("TokenString(28) = %q, %v", s, ok)
	}
	for _, id := range []int32{-1, 49152} {
		if s, ok := tokenizer.TokenString(id); ok {
			t.Errorf("TokenString(%d) = %q", id, s)
		}
	}
	if _, ok := tokenizer.TokenID("no such token"); ok {
		t.Error("TokenID found what is not there")
	}
	if id, text, ok := tokenizer.BOS(); !ok || id != 1 || text != "<|im_start|>" {
		t.Errorf("BOS = %d, %q, %v", id, text, ok)
	}
	if ids := tokenizer.EOSIDs(); !slices.Equal(ids, []int32{2}) {
		t.Errorf("EOSIDs = %v", ids)
	}
	if tokenizer.HasThinking() {
		t.Error("SmolLM2 has no thinking markers")
	}
}

func TestDecodeOfForeignIDs(t *testing.T) {
	tokenizer := loadTestTokenizer(t, "byte_level")
	if _, err := tokenizer.Decode([]int32{5, -2}, false); err == nil || !strings.Contains(err.Error(), "-2 at position 1") {
		t.Errorf("negative id: %v", err)
	}
	if text, err := tokenizer.Decode([]int32{1 << 30}, false); err != nil || text != "" {
		t.Errorf("id beyond the vocabulary: %q, %v", text, err)
	}
}

func TestEncodePromptAddsBOSOnce(t *testing.T) {
	v := sentencePieceVocab(t)
	tokenizer, err := LoadGGUFVocab(v)
	if err != nil {
		t.Fatal(err)
	}
	defer tokenizer.Close()
	for _, prompt := range []string{"hi", "<s>hi"} {
		ids, err := tokenizer.EncodePrompt(prompt)
		if err != nil || len(ids) < 2 || ids[0] != 1 || ids[1] == 1 {
			t.Errorf("EncodePrompt(%q) = %v, %v", prompt, ids, err)
		}
	}
}

func TestBOSAndEOSFlags(t *testing.T) {
	yes, no := true, false
	v := sentencePieceVocab(t)
	v.AddBOS, v.AddEOS = &no, &yes
	tokenizer, err := LoadGGUFVocab(v)
	if err != nil {
		t.Fatal(err)
	}
	defer tokenizer.Close()
	ids, err := tokenizer.Encode("hi", true)
	if err != nil || ids[0] == 1 || ids[len(ids)-1] != 2 {
		t.Errorf("ids %v, %v", ids, err)
	}
}

func TestConcurrentUseAndClose(t *testing.T) {
	tokenizer := smolLM2Tokenizer(t)
	want, err := tokenizer.Encode("The quick brown fox, 1234 times.", false)
	if err != nil {
		t.Fatal(err)
	}
	encoded := make(chan struct{}, 1)
	var users, closers sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				got, err := tokenizer.Encode("The quick brown fox, 1234 times.", false)
				if err != nil {
					if !strings.Contains(err.Error(), "closed") {
						t.Error(err)
					}
					return
				}
				if !slices.Equal(got, want) {
					t.Errorf("ids %v", got)
					return
				}
				tokenizer.NewDetokenizer(true).Push(got[0])
				select {
				case encoded <- struct{}{}:
				default:
				}
			}
		})
	}
	<-encoded
	for range 2 {
		closers.Go(tokenizer.Close)
	}
	closers.Wait()
	users.Wait()

	d := tokenizer.NewDetokenizer(false)
	if d.Push(5) != "" || d.Err() == nil {
		t.Errorf("detokenizer of a closed tokenizer: %v", d.Err())
	}
	if _, ok := tokenizer.TokenID(","); ok {
		t.Error("look-up in a closed tokenizer")
	}
}

func TestGuidanceIsLinked(t *testing.T) {
	if v := GuidanceVersion(); !strings.HasPrefix(v, "llguidance@1.9.") {
		t.Errorf("version %q", v)
	}
}
