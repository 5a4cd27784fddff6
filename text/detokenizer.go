package text

import (
	"strings"
	"unicode/utf8"
)

// How a tokenizer's decoder joins tokens, as the native library reports it.
const (
	joiningByteLevel          = "byte_level"           // tokens are bytes
	joiningSentencePiece      = "sentence_piece"       // ▁ is a space, <0xHH> a byte
	joiningSentencePieceStrip = "sentence_piece_strip" // and the first word's space is dropped
	joiningSequence           = "sequence"             // only whole sequences can be decoded
)

// Detokenizer turns a stream of ids into text, each Push in constant time. What it emits
// is always whole UTF-8. It belongs to one goroutine.
//
// The joined text is that of mlx-lm's streaming detokenizers: byte-level BPE and
// SentencePiece with a prefix space lose the space before the first word; bytes that
// form no character become U+FFFD. Unlike those, a real U+FFFD is emitted at once, NUL is
// a byte like others, and decoders that are neither are joined as Decode does.
type Detokenizer struct {
	tokenizer   *Tokenizer
	skipSpecial bool
	joining     string
	buf         []byte // scratch for a token's bytes
	tail        []byte // the start of a character that is not complete
	atStart     bool   // the rule for the first word's space still applies
	window      window
	err         error
}

// NewDetokenizer starts a stream. skipSpecial leaves special tokens out.
func (t *Tokenizer) NewDetokenizer(skipSpecial bool) *Detokenizer {
	joining := t.native.info.Joining
	return &Detokenizer{
		tokenizer:   t,
		skipSpecial: skipSpecial,
		joining:     joining,
		buf:         make([]byte, 64),
		atStart:     joining == joiningByteLevel || joining == joiningSentencePieceStrip,
	}
}

// Push adds a token and returns the text that it completes, which may be empty. An id
// beyond the vocabulary adds nothing. After an error (see Err) Push returns nothing.
func (d *Detokenizer) Push(id int32) string {
	if d.err != nil || id < 0 {
		return ""
	}
	piece, err := d.tokenizer.native.piece(id, d.skipSpecial, d.buf)
	if err != nil {
		d.err = err
		return ""
	}
	if len(piece) == 0 {
		return "" // unknown or skipped: no decoder sees it
	}
	if d.joining == joiningSequence {
		return d.pushWindow(id)
	}
	text, tail := appendValid(nil, append(d.tail, piece...))
	d.tail = append(d.tail[:0], tail...)
	return d.trim(text)
}

// Flush ends the stream and returns what was held back.
func (d *Detokenizer) Flush() string {
	if d.joining == joiningSequence {
		return d.flushWindow()
	}
	if len(d.tail) == 0 {
		return ""
	}
	d.tail = d.tail[:0]
	return string(utf8.RuneError)
}

// Err returns the first error of the stream: the tokenizer was closed under it, or the
// native library failed.
func (d *Detokenizer) Err() error { return d.err }

// trim applies the rule for the space before the first word.
func (d *Detokenizer) trim(text []byte) string {
	if !d.atStart || len(text) == 0 {
		return string(text)
	}
	if text[0] == ' ' {
		text = text[1:]
	}
	// SentencePiece drops one space of each token until there is text.
	d.atStart = d.joining == joiningSentencePieceStrip && len(text) == 0
	return string(text)
}

// maxHeld is how many tokens a window waits for a character to complete. Four bytes are
// the longest one, so that a U+FFFD after four tokens is real.
const maxHeld = 4

// window is the part of a stream that is decoded anew for each token: the ids last
// emitted, for context, and those after them.
type window struct {
	ids     []int32
	emitted int // leading ids whose text was emitted
}

func (d *Detokenizer) pushWindow(id int32) string {
	w := &d.window
	w.ids = append(w.ids, id)
	text := d.windowText()
	if strings.HasSuffix(text, string(utf8.RuneError)) && len(w.ids)-w.emitted < maxHeld {
		return ""
	}
	w.ids = append(w.ids[:0], w.ids[w.emitted:]...)
	w.emitted = len(w.ids)
	return text
}

func (d *Detokenizer) flushWindow() string {
	if len(d.window.ids) == d.window.emitted {
		return ""
	}
	text := d.windowText()
	d.window.emitted = len(d.window.ids)
	return text
}

// windowText is what the ids that were not emitted add to the text of those that were.
func (d *Detokenizer) windowText() string {
	before := d.decode(d.window.ids[:d.window.emitted])
	all := d.decode(d.window.ids)
	if d.err != nil {
		return ""
	}
	same := 0
	for same < len(before) && same < len(all) && before[same] == all[same] {
		same++
	}
	for same > 0 && same < len(all) && !utf8.RuneStart(all[same]) {
		same--
	}
	return all[same:]
}

func (d *Detokenizer) decode(ids []int32) string {
	text, err := d.tokenizer.native.decode(ids, d.skipSpecial)
	if err != nil && d.err == nil {
		d.err = err
	}
	return text
}
