package text

import "unicode/utf8"

// appendValid appends b to dst as valid UTF-8 and returns the tail of b that may still
// become a character. What cannot is replaced by U+FFFD, one for each maximal subpart of
// a character, which is the rule of Python, Rust and the Unicode standard (Go's own is one
// for each byte).
func appendValid(dst, b []byte) (valid, tail []byte) {
	for len(b) > 0 {
		if r, size := utf8.DecodeRune(b); r != utf8.RuneError || size > 1 {
			dst = append(dst, b[:size]...)
			b = b[size:]
			continue
		}
		if !utf8.FullRune(b) {
			return dst, b
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
		b = b[brokenLength(b):]
	}
	return dst, nil
}

// brokenLength is the number of bytes at the start of b that begin a character which the
// next byte does not continue; at least 1.
func brokenLength(b []byte) int {
	n := 1
	for n < len(b) && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}
