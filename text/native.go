package text

/*
#cgo CFLAGS: -I${SRCDIR}/native/include
#cgo LDFLAGS: ${SRCDIR}/../.deps/text/libmlxworker_text.a -lm
#cgo linux LDFLAGS: -ldl -lpthread
#include "mlxworker_text.h"
*/
import "C"

import (
	"encoding/binary"
	"encoding/json"
	"sync"
	"unsafe"

	"mlx-worker/internal/fault"
)

// This file holds every call into the native library. A pointer never leaves it.

// handle owns a native object through a pointer of type P. use may run concurrently with
// itself; close waits for it.
type handle[P comparable] struct {
	mu   sync.RWMutex
	ptr  P // nil once closed
	free func(P)
}

func (h *handle[P]) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var closed P
	if h.ptr != closed {
		h.free(h.ptr)
		h.ptr = closed
	}
}

// use runs call with the native object and returns its buffer as Go memory. what names
// the attempt in errors.
func (h *handle[P]) use(what string, call func(P) C.mwt_buffer) ([]byte, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var closed P
	if h.ptr == closed {
		return nil, fault.New(fault.Tokenizer, "%s: the model's text side is closed", what)
	}
	return take(what, call(h.ptr))
}

// take copies and frees a native buffer. A failed call becomes a fault.
func take(what string, buffer C.mwt_buffer) ([]byte, error) {
	defer C.mwt_buffer_free(buffer)
	result := make([]byte, int(buffer.len))
	copy(result, unsafe.Slice((*byte)(buffer.ptr), int(buffer.len)))
	switch buffer.status {
	case C.MWT_OK:
		return result, nil
	case C.MWT_UNSUPPORTED:
		return nil, fault.New(fault.Unsupported, "%s: %s", what, result).With("what", string(result))
	case C.MWT_PANIC:
		return nil, fault.New(fault.Tokenizer, "%s: fault in the text library: %s", what, result)
	default:
		return nil, fault.New(fault.Tokenizer, "%s: %s", what, result)
	}
}

func bytesOf(b []byte) (*C.uint8_t, C.size_t) {
	return (*C.uint8_t)(unsafe.SliceData(b)), C.size_t(len(b))
}

func textOf(s string) (*C.uint8_t, C.size_t) {
	return (*C.uint8_t)(unsafe.StringData(s)), C.size_t(len(s))
}

// nativeTokenizer is a loaded tokenizer of the native library.
type nativeTokenizer struct {
	handle[*C.mwt_tokenizer]
	info tokenizerInfo
}

// tokenizerInfo is what the library reports about a tokenizer it loaded.
type tokenizerInfo struct {
	Model     string `json:"model"`   // BPE, Unigram, WordPiece, WordLevel
	Joining   string `json:"joining"` // one of the joining constants
	VocabSize int    `json:"vocab_size"`
}

func newNativeTokenizer(what string, load func(out **C.mwt_tokenizer) C.mwt_buffer) (*nativeTokenizer, error) {
	var ptr *C.mwt_tokenizer
	report, err := take(what, load(&ptr))
	if err != nil {
		return nil, err
	}
	t := &nativeTokenizer{}
	t.ptr = ptr
	t.free = func(ptr *C.mwt_tokenizer) { C.mwt_tokenizer_free(ptr) }
	if err := json.Unmarshal(report, &t.info); err != nil {
		t.close()
		return nil, fault.New(fault.Tokenizer, "%s: report of the text library: %w", what, err)
	}
	return t, nil
}

func tokenizerFromJSON(data, options []byte) (*nativeTokenizer, error) {
	return newNativeTokenizer("load tokenizer.json", func(out **C.mwt_tokenizer) C.mwt_buffer {
		json, jsonLen := bytesOf(data)
		opts, optsLen := bytesOf(options)
		return C.mwt_tokenizer_from_json(json, jsonLen, opts, optsLen, out)
	})
}

func tokenizerFromGGUF(header []byte, v *GGUFVocab) (*nativeTokenizer, error) {
	return newNativeTokenizer("load GGUF vocabulary", func(out **C.mwt_tokenizer) C.mwt_buffer {
		head, headLen := bytesOf(header)
		tokens, tokensLen := bytesOf(packStrings(v.Tokens))
		merges, mergesLen := bytesOf(packStrings(v.Merges))
		return C.mwt_tokenizer_from_gguf(head, headLen, tokens, tokensLen, merges, mergesLen,
			(*C.float)(unsafe.SliceData(v.Scores)), C.size_t(len(v.Scores)),
			(*C.int32_t)(unsafe.SliceData(v.Types)), C.size_t(len(v.Types)), out)
	})
}

// packStrings joins strings as the library reads them: length as uint32, then the bytes.
func packStrings(list []string) []byte {
	size := 0
	for _, s := range list {
		size += 4 + len(s)
	}
	packed := make([]byte, 0, size)
	for _, s := range list {
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(s)))
		packed = append(packed, s...)
	}
	return packed
}

func (t *nativeTokenizer) encode(s string, addSpecial bool) ([]int32, error) {
	packed, err := t.use("encode", func(ptr *C.mwt_tokenizer) C.mwt_buffer {
		text, textLen := textOf(s)
		return C.mwt_tokenizer_encode(ptr, text, textLen, C.bool(addSpecial))
	})
	if err != nil {
		return nil, err
	}
	ids := make([]int32, len(packed)/4)
	for i := range ids {
		ids[i] = int32(binary.LittleEndian.Uint32(packed[4*i:]))
	}
	return ids, nil
}

func (t *nativeTokenizer) decode(ids []int32, skipSpecial bool) (string, error) {
	text, err := t.use("decode", func(ptr *C.mwt_tokenizer) C.mwt_buffer {
		first := (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(ids)))
		return C.mwt_tokenizer_decode(ptr, first, C.size_t(len(ids)), C.bool(skipSpecial))
	})
	return string(text), err
}

// piece returns the bytes that one id adds to a text, in buf if they fit.
func (t *nativeTokenizer) piece(id int32, skipSpecial bool, buf []byte) ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.ptr == nil {
		return nil, fault.New(fault.Tokenizer, "detokenize: the model's text side is closed")
	}
	for {
		out, capacity := bytesOf(buf)
		n := int(C.mwt_tokenizer_piece(t.ptr, C.uint32_t(id), C.bool(skipSpecial), out, capacity))
		switch {
		case n < 0:
			return nil, fault.New(fault.Tokenizer, "detokenize id %d: fault in the text library", id)
		case n <= len(buf):
			return buf[:n], nil
		}
		buf = make([]byte, n)
	}
}

func (t *nativeTokenizer) entry(id int32) (string, bool) {
	entry, err := t.use("look up id", func(ptr *C.mwt_tokenizer) C.mwt_buffer {
		return C.mwt_tokenizer_entry(ptr, C.uint32_t(id))
	})
	return string(entry), err == nil
}

func (t *nativeTokenizer) id(token string, specialOnly bool) (int32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.ptr == nil {
		return 0, false
	}
	text, textLen := textOf(token)
	id := C.mwt_tokenizer_id(t.ptr, text, textLen, C.bool(specialOnly))
	return int32(id), id >= 0
}

// nativeTemplate is a compiled chat template.
type nativeTemplate struct {
	handle[*C.mwt_template]
}

func newNativeTemplate(source string) (*nativeTemplate, error) {
	var ptr *C.mwt_template
	text, textLen := textOf(source)
	if _, err := take("compile chat template", C.mwt_template_new(text, textLen, &ptr)); err != nil {
		return nil, err
	}
	t := &nativeTemplate{}
	t.ptr = ptr
	t.free = func(ptr *C.mwt_template) { C.mwt_template_free(ptr) }
	return t, nil
}

func (t *nativeTemplate) render(request []byte) (string, error) {
	text, err := t.use("render chat template", func(ptr *C.mwt_template) C.mwt_buffer {
		data, dataLen := bytesOf(request)
		return C.mwt_template_render(ptr, data, dataLen)
	})
	return string(text), err
}

// GuidanceVersion is the version of the constrained-decoding library (llguidance) that
// the native library brings.
func GuidanceVersion() string { return C.GoString(C.llg_get_version()) }
