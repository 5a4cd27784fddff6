package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"mlx-worker/batcher"
)

// chunkFrameBytes is the size from which a frame of chunks is sent and another begun. A step
// has some hundred bytes; only what a slow client left waiting grows so large.
const chunkFrameBytes = 256 << 10

// chunkFrame encodes the params of stream.chunk: {chunks: [row, ...]}. It is written by hand,
// as it is made for each step. Not safe for concurrent use.
type chunkFrame struct {
	buf   *bytes.Buffer
	enc   *msgpack.Encoder
	limit int // bytes from which the frame is full
	rows  int
}

// newChunkFrame makes frames that stay well within maxFrameBytes.
func newChunkFrame(maxFrameBytes int) chunkFrame {
	buf := new(bytes.Buffer)
	enc := msgpack.NewEncoder(buf)
	enc.UseCompactInts(true)
	return chunkFrame{buf: buf, enc: enc, limit: min(chunkFrameBytes, maxFrameBytes/2)}
}

// countAt is where the number of rows stands in a frame.
const countAt = 1 + 1 + len("chunks") + 1

// add moves a row from the front of p to the frame, at most half a frame of it. It reports
// whether the frame is full.
func (f *chunkFrame) add(s *stream, p *portion) (full bool) {
	if f.rows == 0 {
		f.buf.Reset()
		must(f.enc.EncodeMapLen(1), f.enc.EncodeString("chunks"))
		// The number of rows is not known yet: an array 32 with room for it.
		f.buf.Write([]byte{msgpcode.Array32, 0, 0, 0, 0})
	}
	text := p.text[:textLength(p.text, f.limit/4)]
	tokens := p.tokens[:tokensLength(p.tokens, f.limit/4)]
	f.row(s, text, tokens)
	f.rows++
	p.text, p.tokens = p.text[len(text):], p.tokens[len(tokens):]
	s.chunks++
	return f.buf.Len() >= f.limit
}

// textLength returns how many bytes of text fit into size, whole characters only.
func textLength(text []byte, size int) int {
	if len(text) <= size {
		return len(text)
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return size
}

// tokensLength returns how many of the tokens fit into size, at least one.
func tokensLength(tokens []batcher.Token, size int) int {
	const tokenBytes, alternativeBytes = 48, 80 // about what they take at most
	for i, t := range tokens {
		size -= tokenBytes + alternativeBytes*len(t.TopLogProbs)
		if size < 0 {
			return max(i, 1)
		}
	}
	return len(tokens)
}

// params returns the frame's content, valid until the next add, and empties the frame.
func (f *chunkFrame) params() []byte {
	params := f.buf.Bytes()
	binary.BigEndian.PutUint32(params[countAt:], uint32(f.rows))
	f.rows = 0
	return params
}

func (f *chunkFrame) row(s *stream, text []byte, tokens []batcher.Token) {
	e := f.enc
	members := 4
	if s.logProbs {
		members++
	}
	must(
		e.EncodeMapLen(members),
		e.EncodeString("stream_id"), e.EncodeString(s.id),
		e.EncodeString("index"), e.EncodeInt(int64(s.chunks)),
		e.EncodeString("text"), e.EncodeString(string(text)),
		e.EncodeString("token_ids"), e.EncodeArrayLen(len(tokens)),
	)
	for _, t := range tokens {
		must(e.EncodeInt(int64(t.ID)))
	}
	if !s.logProbs {
		return
	}
	must(e.EncodeString("logprobs"), e.EncodeArrayLen(len(tokens)))
	for _, t := range tokens {
		f.logProb(s, t)
	}
}

func (f *chunkFrame) logProb(s *stream, t batcher.Token) {
	e := f.enc
	members := 2
	if len(t.TopLogProbs) > 0 {
		members++
	}
	must(
		e.EncodeMapLen(members),
		e.EncodeString("token_id"), e.EncodeInt(int64(t.ID)),
		e.EncodeString("logprob"), e.EncodeFloat32(t.LogProb),
	)
	if len(t.TopLogProbs) == 0 {
		return
	}
	must(e.EncodeString("top"), e.EncodeArrayLen(len(t.TopLogProbs)))
	for _, top := range t.TopLogProbs {
		must(
			e.EncodeMapLen(3),
			e.EncodeString("token_id"), e.EncodeInt(int64(top.Token)),
			e.EncodeString("text"), e.EncodeString(s.tokenText(top.Token)),
			e.EncodeString("logprob"), e.EncodeFloat32(top.LogProb),
		)
	}
}

// must panics on an error of encoding into memory, of which there are none.
func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
}
