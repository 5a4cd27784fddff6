package text

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDetokenizerDoesNotStallOnReplacementCharacter(t *testing.T) {
	for _, name := range []string{"byte_level", "sentence_piece", "unigram"} {
		t.Run(name, func(t *testing.T) {
			tokenizer := loadTestTokenizer(t, name)
			ids, err := tokenizer.Encode("a\ufffdbcdefgh", false)
			if err != nil {
				t.Fatal(err)
			}
			d := tokenizer.NewDetokenizer(false)
			var text strings.Builder
			for _, id := range ids {
				text.WriteString(d.Push(id))
			}
			if name != "unigram" && !strings.Contains(text.String(), "\ufffd") { // unigram knows no U+FFFD
				t.Errorf("before the flush: %q", text.String())
			}
			if !strings.HasSuffix(text.String(), "h") {
				t.Errorf("held back: %q", text.String())
			}
			if rest := d.Flush(); rest != "" {
				t.Errorf("flush returned %q", rest)
			}
		})
	}
}

func TestDetokenizerHoldsPartOfACharacter(t *testing.T) {
	tokenizer := loadTestTokenizer(t, "byte_level")
	bytes := func(s string) (ids []int32) {
		for _, b := range []byte(s) {
			id, ok := tokenizer.TokenID(string(byteLevelRune(b)))
			if !ok {
				t.Fatalf("no token for byte %#x", b)
			}
			ids = append(ids, id)
		}
		return ids
	}
	d := tokenizer.NewDetokenizer(false)
	var pieces []string
	for _, id := range bytes("x😀\xe2\x82y\xf0\x9f") {
		pieces = append(pieces, d.Push(id))
	}
	want := []string{"x", "", "", "", "😀", "", "", "\ufffdy", "", ""}
	if !slices.Equal(pieces, want) {
		t.Errorf("pieces %q, want %q", pieces, want)
	}
	if rest := d.Flush(); rest != "\ufffd" {
		t.Errorf("flush %q", rest)
	}
	if rest := d.Flush(); rest != "" {
		t.Errorf("second flush %q", rest)
	}
}

// byteLevelRune is the character of GPT-2's alphabet that stands for b.
func byteLevelRune(b byte) rune {
	next := rune(0x100)
	for c := range 256 {
		printable := c >= '!' && c <= '~' || c >= 0xa1 && c <= 0xac || c >= 0xae
		switch {
		case c == int(b) && printable:
			return rune(c)
		case c == int(b):
			return next
		case !printable:
			next++
		}
	}
	panic("unreachable")
}

func TestDetokenizerSkipsSpecialTokens(t *testing.T) {
	tokenizer := smolLM2Tokenizer(t)
	ids, err := tokenizer.Encode("<|im_start|>user hi<|im_end|>", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream(t, tokenizer, ids, true); got != "user hi" {
		t.Errorf("skipping: %q", got)
	}
	if got := stream(t, tokenizer, ids, false); got != "<|im_start|>user hi<|im_end|>" {
		t.Errorf("keeping: %q", got)
	}
	if got := stream(t, tokenizer, []int32{ids[1], 1 << 30, -1, ids[2]}, true); got != "user hi" {
		t.Errorf("foreign ids: %q", got)
	}
}

func TestDetokenizerOfSequencesEqualsDecode(t *testing.T) {
	for _, name := range []string{"unigram", "wordpiece"} {
		var golden tokenizerGolden
		readGolden(t, name+".golden.json", &golden)
		tokenizer := loadTestTokenizer(t, name)
		for _, c := range golden.Cases {
			for _, skip := range []bool{false, true} {
				want, err := tokenizer.Decode(c.Special, skip)
				if err != nil {
					t.Fatal(err)
				}
				if got := stream(t, tokenizer, c.Special, skip); got != want {
					t.Errorf("%s %v: streamed %q, decoded %q", name, c.Special, got, want)
				}
			}
		}
	}
}

// FuzzDetokenizer streams arbitrary ids: what is joined is what Decode says, but for the
// space before the first word.
func FuzzDetokenizer(f *testing.F) {
	f.Add([]byte("hello"), false)
	f.Add([]byte{0, 1, 2, 3, 0xe2, 0x82, 0xff}, true)
	f.Add([]byte(" \xf0\x9f\x98\x80\xc3 \xa9"), false)
	tokenizers := map[string]*Tokenizer{}
	for _, name := range []string{"byte_level", "sentence_piece", "sentence_piece_no_prefix", "unigram"} {
		tokenizers[name] = loadTestTokenizer(f, name)
	}
	f.Fuzz(func(t *testing.T, data []byte, skip bool) {
		for name, tokenizer := range tokenizers {
			ids := make([]int32, len(data))
			for i, b := range data {
				ids[i] = int32(b) * int32(tokenizer.VocabSize()) / 256
			}
			decoded, err := tokenizer.Decode(ids, skip)
			if err != nil {
				t.Fatal(err)
			}
			got := stream(t, tokenizer, ids, skip)
			switch name {
			case "byte_level":
				decoded = strings.TrimPrefix(decoded, " ")
			case "sentence_piece", "sentence_piece_no_prefix":
				// Decode makes a U+FFFD of every byte of a run that holds a wrong one.
				if strings.ContainsRune(decoded, utf8.RuneError) {
					continue
				}
				if name == "sentence_piece" {
					got, decoded = strings.TrimLeft(got, " "), strings.TrimLeft(decoded, " ")
				}
			}
			if got != decoded {
				t.Errorf("%s %v: streamed %q, decoded %q", name, ids, got, decoded)
			}
		}
	})
}

func FuzzAppendValid(f *testing.F) {
	f.Add([]byte("a\xe2\x82\xacb"), 2)
	f.Add([]byte("\xf0\x9f\x98\xed\xa0\x80\xff"), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if cut < 0 || cut > len(data) {
			return
		}
		whole, wholeTail := appendValid(nil, data)
		first, tail := appendValid(nil, data[:cut])
		both, bothTail := appendValid(first, append(slices.Clone(tail), data[cut:]...))
		if !slices.Equal(whole, both) || !slices.Equal(wholeTail, bothTail) {
			t.Errorf("cut at %d: %q + %q, whole: %q + %q", cut, both, bothTail, whole, wholeTail)
		}
		if !utf8.Valid(whole) || len(wholeTail) >= utf8.UTFMax || utf8.FullRune(wholeTail) && len(wholeTail) > 0 {
			t.Errorf("%q + %q", whole, wholeTail)
		}
		if utf8.Valid(data) && string(whole) != string(data) {
			t.Errorf("valid text changed: %q", whole)
		}
	})
}

func TestAppendValidReplacesMaximalSubparts(t *testing.T) {
	for in, want := range map[string]string{
		"\xe2\x82A":        "\ufffdA",
		"\xf0\x9f\x98A":    "\ufffdA",
		"\xf0\x80\x80":     "\ufffd\ufffd\ufffd",
		"\xed\xa0\x80":     "\ufffd\ufffd\ufffd",
		"\xc0\xaf\xff":     "\ufffd\ufffd\ufffd",
		"\xe2\xe2\x82\xac": "\ufffd€",
		"\ufffd":           "\ufffd",
	} {
		if got, tail := appendValid(nil, []byte(in)); string(got) != want || len(tail) != 0 {
			t.Errorf("%q: %q + %q, want %q", in, got, tail, want)
		}
	}
}
