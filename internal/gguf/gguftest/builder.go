// Package gguftest writes GGUF files for tests.
package gguftest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mlx-worker/internal/gguf"
)

// Builder collects the parts of a GGUF file. It writes what it is told, sound or not.
type Builder struct {
	Version   uint32 // New: 3
	Alignment uint64 // New: 32; written as general.alignment only by Set

	metadata      []byte
	metadataCount uint64
	tensors       []tensor
}

type tensor struct {
	name   string
	typ    gguf.TensorType
	dims   []uint64
	data   []byte
	offset *uint64 // nil: behind the tensor before
}

// New returns an empty version 3 file.
func New() *Builder { return &Builder{Version: 3, Alignment: 32} }

// Array is a metadata array of mixed Go values of one GGUF type; Set takes it for arrays of
// arrays. Slices of Go's basic types may be given to Set as they are.
type Array []any

// Set appends a metadata pair. value is of a fixed-size integer type, float32, float64, bool,
// string, a slice of these, or an Array. It panics on other types.
func (b *Builder) Set(key string, value any) *Builder {
	b.metadata = appendString(b.metadata, key)
	b.metadata = binary.LittleEndian.AppendUint32(b.metadata, tag(value))
	b.metadata = appendValue(b.metadata, value)
	b.metadataCount++
	return b
}

// Tensor appends a tensor; dims are in GGUF order (the contiguous dimension first).
func (b *Builder) Tensor(name string, typ gguf.TensorType, dims []uint64, data []byte) *Builder {
	b.tensors = append(b.tensors, tensor{name: name, typ: typ, dims: dims, data: data})
	return b
}

// TensorAt is Tensor with a given offset in the directory.
func (b *Builder) TensorAt(offset uint64, name string, typ gguf.TensorType, dims []uint64, data []byte) *Builder {
	b.tensors = append(b.tensors, tensor{name: name, typ: typ, dims: dims, data: data, offset: &offset})
	return b
}

// Bytes returns the file.
func (b *Builder) Bytes() []byte {
	le := binary.LittleEndian
	out := append([]byte(nil), "GGUF"...)
	out = le.AppendUint32(out, b.Version)
	out = le.AppendUint64(out, uint64(len(b.tensors)))
	out = le.AppendUint64(out, b.metadataCount)
	out = append(out, b.metadata...)
	var data []byte
	for _, t := range b.tensors {
		data = pad(data, b.Alignment)
		offset := uint64(len(data))
		if t.offset != nil {
			offset = *t.offset
		}
		data = append(data, t.data...)
		out = appendString(out, t.name)
		out = le.AppendUint32(out, uint32(len(t.dims)))
		for _, d := range t.dims {
			out = le.AppendUint64(out, d)
		}
		out = le.AppendUint32(out, uint32(t.typ))
		out = le.AppendUint64(out, offset)
	}
	return append(pad(out, b.Alignment), data...)
}

// WriteFile writes the file into a temporary folder of t and returns its path.
func (b *Builder) WriteFile(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// F32 encodes values as the data of an F32 tensor.
func F32(values ...float32) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func pad(b []byte, alignment uint64) []byte {
	for alignment > 0 && uint64(len(b))%alignment != 0 {
		b = append(b, 0)
	}
	return b
}

func appendString(out []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(out, uint64(len(s))), s...)
}

// tag is the format's type tag of a Go value.
func tag(value any) uint32 {
	switch value.(type) {
	case uint8:
		return 0
	case int8:
		return 1
	case uint16:
		return 2
	case int16:
		return 3
	case uint32:
		return 4
	case int32:
		return 5
	case float32:
		return 6
	case bool:
		return 7
	case string:
		return 8
	case []uint8, []int8, []uint16, []int16, []uint32, []int32, []float32, []bool, []string,
		[]uint64, []int64, []float64, Array:
		return 9
	case uint64:
		return 10
	case int64:
		return 11
	case float64:
		return 12
	}
	panic(fmt.Sprintf("gguftest: no GGUF type for %T", value))
}

func appendValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(out, v)
	case Array:
		elem := tag(uint8(0))
		if len(v) > 0 {
			elem = tag(v[0])
		}
		out = appendHeader(out, elem, len(v))
		for _, e := range v {
			out = appendValue(out, e)
		}
		return out
	case []string:
		out = appendHeader(out, tag(""), len(v))
		for _, s := range v {
			out = appendString(out, s)
		}
		return out
	case []uint8:
		return appendFixed(out, v)
	case []int8:
		return appendFixed(out, v)
	case []uint16:
		return appendFixed(out, v)
	case []int16:
		return appendFixed(out, v)
	case []uint32:
		return appendFixed(out, v)
	case []int32:
		return appendFixed(out, v)
	case []float32:
		return appendFixed(out, v)
	case []bool:
		return appendFixed(out, v)
	case []uint64:
		return appendFixed(out, v)
	case []int64:
		return appendFixed(out, v)
	case []float64:
		return appendFixed(out, v)
	}
	return appendBinary(out, value)
}

func appendFixed[T any](out []byte, values []T) []byte {
	var zero T
	return appendBinary(appendHeader(out, tag(zero), len(values)), values)
}

func appendHeader(out []byte, elem uint32, count int) []byte {
	out = binary.LittleEndian.AppendUint32(out, elem)
	return binary.LittleEndian.AppendUint64(out, uint64(count))
}

func appendBinary(out []byte, value any) []byte {
	out, err := binary.Append(out, binary.LittleEndian, value)
	if err != nil {
		panic(err) // value is of fixed size: tag has accepted it
	}
	return out
}
