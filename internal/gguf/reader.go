package gguf

import (
	"encoding/binary"

	"mlx-worker/internal/fault"
)

// reader walks a header. Every read is checked against the end of the buffer.
type reader struct {
	name string // file, for errors
	buf  []byte
	pos  uint64
}

func (r *reader) errorf(format string, args ...any) *fault.Error {
	e := fault.New(fault.ModelLoad, "%s: "+format, append([]any{r.name}, args...)...)
	return e.With("file", r.name)
}

func (r *reader) left() uint64 { return uint64(len(r.buf)) - r.pos }

// take returns the next n bytes; what and key name them in the error if the file ends before.
func (r *reader) take(n uint64, what, key string) ([]byte, error) {
	if n > r.left() {
		return nil, r.errorf("truncated at byte %d: %s%s needs %d bytes, %d are left", r.pos, what, key, n, r.left())
	}
	b := r.buf[r.pos : r.pos+n]
	r.pos += n
	return b, nil
}

func (r *reader) uint32(what string) (uint32, error) {
	b, err := r.take(4, what, "")
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) uint64(what string) (uint64, error) {
	b, err := r.take(8, what, "")
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// string reads a length and that many bytes. The bytes are copied: they outlive the mapping.
func (r *reader) string(limit uint64, what string) (string, error) {
	n, err := r.uint64(what)
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", r.errorf("%s at byte %d is %d bytes long; at most %d are accepted", what, r.pos-8, n, limit)
	}
	b, err := r.take(n, what, "")
	return string(b), err
}
