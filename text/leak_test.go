//go:build linux && !race

// Not with the race detector, whose shadow memory grows with use.

package text

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// residentBytes is this process's resident set.
func residentBytes(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// The smallest of these objects, the template, holds 25 kB, the tokenizers 86 and 155 kB:
// leaking only the template in each round would grow the resident set by 5 MB.
func TestOpenAndCloseDoesNotLeak(t *testing.T) {
	runtime.LockOSThread() // the C heap keeps an arena for each thread
	defer runtime.UnlockOSThread()
	v := sentencePieceVocab(t)
	tokenizerJSON, err := os.ReadFile("testdata/byte_level.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	round := func() {
		fromGGUF, err := OpenGGUF(v, "{{ messages[0].content }}", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer fromGGUF.Close()
		fromJSON, err := LoadTokenizerJSON(tokenizerJSON, TokenizerOptions{ExtraSpecialTokens: []string{"<x>"}})
		if err != nil {
			t.Fatal(err)
		}
		defer fromJSON.Close()
		text, err := fromGGUF.RenderChat(RenderOptions{Messages: oneMessage})
		if err != nil {
			t.Fatal(err)
		}
		for _, tokenizer := range []*Tokenizer{fromGGUF.Tokenizer, fromJSON} {
			ids, err := tokenizer.Encode(strings.Repeat(text+" all sorts of words, 1234 ", 20), true)
			if err != nil {
				t.Fatal(err)
			}
			stream(t, tokenizer, ids, true)
		}
		if _, err := LoadTokenizerJSON([]byte("{}"), TokenizerOptions{}); err == nil {
			t.Fatal("loaded nothing")
		}
	}
	for range 20 {
		round()
	}
	debug.FreeOSMemory()
	before := residentBytes(t)
	for range 200 {
		round()
	}
	debug.FreeOSMemory()
	if grown := residentBytes(t) - before; grown > 4<<20 {
		t.Errorf("200 rounds grew the resident set by %d bytes", grown)
	} else {
		t.Logf("200 rounds grew the resident set by %d bytes", grown)
	}
}
