package text

// StopMatcher finds stop sequences in a stream of text. Text that may turn out to be the
// beginning of one is held back, so that no part of a stop sequence is ever emitted. The
// match that completes first wins, and of several that complete at the same place the
// longest: the outcome does not depend on how the text is cut into pieces. It belongs to
// one goroutine.
type StopMatcher struct {
	patterns []pattern
	held     string // unemitted text: a proper prefix of at least one stop sequence
	matched  string
	done     bool
}

// pattern is one stop sequence with its Knuth–Morris–Pratt automaton.
type pattern struct {
	text     string
	fallback []int // fallback[i]: length of the longest proper border of text[:i+1]
	state    int   // bytes matched so far
}

// NewStopMatcher returns a matcher for stops. Empty strings never match.
func NewStopMatcher(stops []string) *StopMatcher {
	m := &StopMatcher{}
	for _, stop := range stops {
		if stop != "" {
			m.patterns = append(m.patterns, newPattern(stop))
		}
	}
	return m
}

func newPattern(text string) pattern {
	fallback := make([]int, len(text))
	for i, n := 1, 0; i < len(text); i++ {
		for n > 0 && text[i] != text[n] {
			n = fallback[n-1]
		}
		if text[i] == text[n] {
			n++
		}
		fallback[i] = n
	}
	return pattern{text: text, fallback: fallback}
}

// step reads one byte and reports whether the pattern is complete with it.
func (p *pattern) step(b byte) bool {
	for p.state > 0 && p.text[p.state] != b {
		p.state = p.fallback[p.state-1]
	}
	if p.text[p.state] == b {
		p.state++
	}
	return p.state == len(p.text)
}

// Push adds text and returns what may be emitted. Once a stop sequence is complete, done
// is true, matched is the sequence, emit is the text before it, and the rest is dropped;
// later pushes emit nothing.
func (m *StopMatcher) Push(text string) (emit string, matched string, done bool) {
	if m.done {
		return "", m.matched, true
	}
	if len(m.patterns) == 0 {
		return text, "", false
	}
	all := m.held + text
	for i := len(m.held); i < len(all); i++ {
		if stop := m.step(all[i]); stop != "" {
			m.held, m.matched, m.done = "", stop, true
			return all[:i+1-len(stop)], stop, true
		}
	}
	hold := 0
	for i := range m.patterns {
		hold = max(hold, m.patterns[i].state)
	}
	m.held = all[len(all)-hold:]
	return all[:len(all)-hold], "", false
}

// step advances every pattern by one byte and returns the longest complete one.
func (m *StopMatcher) step(b byte) (matched string) {
	for i := range m.patterns {
		p := &m.patterns[i]
		if p.step(b) && len(p.text) > len(matched) {
			matched = p.text
		}
	}
	return matched
}

// Flush ends the stream and returns the text that was held back.
func (m *StopMatcher) Flush() string {
	held := m.held
	m.held = ""
	return held
}
