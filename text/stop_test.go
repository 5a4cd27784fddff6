package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStopMatcher(t *testing.T) {
	for name, c := range map[string]struct {
		stops, pieces []string
		emitted       []string // a piece each, then the flush
		matched       string
	}{
		"no stops":               {nil, []string{"a", "b"}, []string{"a", "b", ""}, ""},
		"empty stop":             {[]string{""}, []string{"a"}, []string{"a", ""}, ""},
		"within a piece":         {[]string{"END"}, []string{"oneENDtwo", "x"}, []string{"one", "", ""}, "END"},
		"across pieces":          {[]string{"END"}, []string{"one E", "N", "D!"}, []string{"one ", "", "", ""}, "END"},
		"held and released":      {[]string{"END"}, []string{"E", "N", "x"}, []string{"", "", "ENx", ""}, ""},
		"held at the end":        {[]string{"END"}, []string{"xEN"}, []string{"x", "EN"}, ""},
		"restart inside a match": {[]string{"aab"}, []string{"aaa", "b"}, []string{"a", "", ""}, "aab"},
		"first to complete":      {[]string{"bcd", "c"}, []string{"abcd"}, []string{"ab", ""}, "c"},
		"longest of the same":    {[]string{"c", "abc"}, []string{"x", "ab", "c"}, []string{"x", "", "", ""}, "abc"},
		"multi-byte":             {[]string{"é!"}, []string{"è", "é", "é!"}, []string{"è", "", "é", ""}, "é!"},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewStopMatcher(c.stops)
			matched := ""
			for i, piece := range c.pieces {
				emit, stop, done := m.Push(piece)
				if emit != c.emitted[i] {
					t.Errorf("piece %d emitted %q, want %q", i, emit, c.emitted[i])
				}
				if done != (stop != "") {
					t.Errorf("piece %d: done %v with %q", i, done, stop)
				}
				matched = stop
			}
			if flushed := m.Flush(); flushed != c.emitted[len(c.pieces)] {
				t.Errorf("flushed %q", flushed)
			}
			if matched != c.matched {
				t.Errorf("matched %q, want %q", matched, c.matched)
			}
		})
	}
}

// naiveStop is the definition: the occurrence with the earliest end, the longest of those.
func naiveStop(text string, stops []string) (before, matched string) {
	end := -1
	for _, stop := range stops {
		if i := strings.Index(text, stop); stop != "" && i >= 0 {
			if e := i + len(stop); end < 0 || e < end || e == end && len(stop) > len(matched) {
				end, matched = e, stop
			}
		}
	}
	if end < 0 {
		return text, ""
	}
	return text[:end-len(matched)], matched
}

func FuzzStopMatcher(f *testing.F) {
	f.Add("one END two", "END", "D t", uint8(3))
	f.Add("aaaaab", "aab", "ab", uint8(1))
	f.Add("xéèé!", "é!", "", uint8(2))
	f.Fuzz(func(t *testing.T, text, stop1, stop2 string, width uint8) {
		stops := []string{stop1, stop2}
		for _, s := range append(stops, text) {
			if !utf8.ValidString(s) {
				return
			}
		}
		m := NewStopMatcher(stops)
		var emitted strings.Builder
		matched := ""
		runes := []rune(text)
		for len(runes) > 0 {
			n := min(len(runes), 1+int(width%8))
			emit, stop, done := m.Push(string(runes[:n]))
			runes = runes[n:]
			emitted.WriteString(emit)
			if !utf8.ValidString(emit) {
				t.Errorf("emitted %q", emit)
			}
			if done {
				matched = stop
			} else if held := m.held; held != "" && !strings.HasPrefix(stop1, held) && !strings.HasPrefix(stop2, held) {
				t.Errorf("holds %q, the beginning of no stop", held)
			}
		}
		emitted.WriteString(m.Flush())
		if before, want := naiveStop(text, stops); emitted.String() != before || matched != want {
			t.Errorf("%q, stops %q: emitted %q, matched %q; want %q, %q", text, stops, emitted.String(), matched, before, want)
		}
	})
}
