package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

const headerSize = 4 // bytes of the length before each body

// frameReader splits a byte stream into frames. Not safe for concurrent use.
type frameReader struct {
	r     *bufio.Reader
	limit int // largest body in bytes
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// header reads the length of the next frame's body. io.EOF means that the stream ended
// between two frames, io.ErrUnexpectedEOF that it ended inside one.
func (f *frameReader) header() (int, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(h[:])), nil
}

// body reads the n bytes of a body into a buffer of its own, which the caller may keep.
func (f *frameReader) body(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(f.r, b)
	return b, insideFrame(err)
}

// skip drops the n bytes of a body without holding them.
func (f *frameReader) skip(n int) error {
	_, err := f.r.Discard(n)
	return insideFrame(err)
}

func insideFrame(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
