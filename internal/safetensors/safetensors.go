// Package safetensors reads safetensors files: a validated directory of tensors and their bytes.
//
// Format: uint64 little-endian header length, a JSON header {name: {dtype, shape,
// data_offsets}}, then the data (https://github.com/huggingface/safetensors#format).
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mlx-worker/internal/fault"
)

// maxHeaderBytes is the format's own limit on the JSON header.
const maxHeaderBytes = 100 << 20

// DType is an element type as the format spells it, e.g. "BF16".
type DType string

// elementBits is the size of one element of every type of the format.
var elementBits = map[DType]int64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"I64": 64, "U64": 64, "F64": 64, "C64": 64,
}

// Tensor is one entry of a file's directory.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int
	Bytes  int64 // length of the data
	offset int64 // from the start of the file
}

// File is an open safetensors file. Read may be called from several goroutines.
type File struct {
	name    string
	file    *os.File
	Tensors []Tensor // sorted by name
}

// Open reads and checks the directory of the file at path: every tensor lies inside the file
// and is as long as its dtype and shape say. Errors are of kind fault.ModelLoad.
func Open(path string) (*File, error) {
	name := filepath.Base(path)
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "%s: %s", name, reason(err))
	}
	tensors, err := readDirectory(file)
	if err != nil {
		file.Close()
		return nil, fault.New(fault.ModelLoad, "%s: %w", name, err)
	}
	return &File{name: name, file: file, Tensors: tensors}, nil
}

// Name returns the file's base name.
func (f *File) Name() string { return f.name }

// chunkBytes is how much Read reads at once: what a processor's cache holds, and whole elements
// of every type.
const chunkBytes = 256 << 10

// Read reads the tensor's data, row-major and little-endian, into dst, which has t.Bytes bytes.
// check is told of each part of dst as it is read, in order, while the processor's cache still
// has it; its first error ends Read.
func (f *File) Read(t Tensor, dst []byte, check func(part []byte) error) error {
	if int64(len(dst)) != t.Bytes {
		return fault.New(fault.Internal, "%s: a buffer of %d bytes for tensor %q of %d", f.name, len(dst), t.Name, t.Bytes)
	}
	for at := 0; at < len(dst); {
		part := dst[at:min(at+chunkBytes, len(dst))]
		if _, err := f.file.ReadAt(part, t.offset+int64(at)); err != nil {
			return fault.New(fault.ModelLoad, "%s: reading tensor %q: %s", f.name, t.Name, reason(err))
		}
		if err := check(part); err != nil {
			return fault.New(fault.ModelLoad, "%s: tensor %q: %w", f.name, t.Name, err)
		}
		at += len(part)
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

type entry struct {
	DType   *DType    `json:"dtype"`
	Shape   []int64   `json:"shape"`
	Offsets *[2]int64 `json:"data_offsets"`
}

func readDirectory(file *os.File) ([]Tensor, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, errors.New(reason(err))
	}
	var prefix [8]byte
	if _, err := io.ReadFull(file, prefix[:]); err != nil {
		return nil, errors.New("not a safetensors file: shorter than its 8-byte header length")
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeaderBytes || int64(length) > info.Size()-8 {
		return nil, fmt.Errorf("not a safetensors file, or truncated: its header of %d bytes does not fit the file of %d bytes", length, info.Size())
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(file, header); err != nil {
		return nil, errors.New("truncated inside the header")
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return nil, fmt.Errorf("header is not a JSON object: %w", err)
	}
	delete(raw, "__metadata__")
	dataStart := 8 + int64(length)
	tensors := make([]Tensor, 0, len(raw))
	for name, body := range raw {
		t, err := parseEntry(name, body, dataStart, info.Size())
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
	}
	slices.SortFunc(tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	return tensors, nil
}

func parseEntry(name string, body json.RawMessage, dataStart, fileSize int64) (Tensor, error) {
	var e entry
	if err := json.Unmarshal(body, &e); err != nil {
		return Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if e.DType == nil || e.Offsets == nil {
		return Tensor{}, fmt.Errorf("tensor %q has no dtype or no data_offsets", name)
	}
	bits, known := elementBits[*e.DType]
	if !known {
		return Tensor{}, fmt.Errorf("tensor %q has the unknown dtype %q", name, *e.DType)
	}
	elements := int64(1)
	shape := make([]int, len(e.Shape))
	for i, d := range e.Shape {
		if d < 0 || d > math.MaxInt32 || (d > 0 && elements > math.MaxInt64/64/d) {
			return Tensor{}, fmt.Errorf("tensor %q has the impossible shape %v", name, e.Shape)
		}
		elements *= d
		shape[i] = int(d)
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	if begin < 0 || end < begin || end > fileSize-dataStart {
		return Tensor{}, fmt.Errorf("truncated: tensor %q ends at byte %d of the data, and the file holds %d", name, end, fileSize-dataStart)
	}
	if want := elements * bits / 8; end-begin != want {
		return Tensor{}, fmt.Errorf("tensor %q has %d bytes, and %s%v needs %d", name, end-begin, *e.DType, e.Shape, want)
	}
	return Tensor{Name: name, DType: *e.DType, Shape: shape, Bytes: end - begin, offset: dataStart + begin}, nil
}

// reason gives an I/O error without the path, which may lie outside the request.
func reason(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
