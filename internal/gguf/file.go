package gguf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mlx-worker/internal/fault"
)

// File is an open GGUF file. It is immutable: every method but Close may be called from any
// goroutine.
type File struct {
	name      string // base name, for errors
	version   uint32
	alignment uint64
	keys      []string // in file order
	metadata  map[string]value
	tensors   []Tensor // in file order
	byName    map[string]int
	mapping   []byte
	source    io.ReaderAt // of what is mapped
	opened    *os.File    // nil if mapping is not of a file
}

// Tensor is an entry of the tensor directory.
type Tensor struct {
	Name string
	// Dims are the sizes in GGUF order: Dims[0] is the contiguous dimension, so a weight of
	// shape [out, in] has Dims {in, out}. Dims is empty for a scalar.
	Dims []uint64
	Type TensorType

	data   []byte
	offset int // of data in the file
}

// Data returns the tensor's bytes: a read-only view of the mapping (writing to it faults)
// that must not be used after File.Close.
func (t *Tensor) Data() []byte { return t.data }

// Elements returns the number of elements.
func (t *Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		n *= d // checked for overflow at Open
	}
	return n
}

// Open maps the file at path and checks its header. Only pages that are touched are read.
func Open(path string) (*File, error) {
	name := filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(name, err)
	}
	file, err := mapped(name, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.source, file.opened = f, f
	return file, nil
}

// mapped maps the file and checks its header.
func mapped(name string, f *os.File) (*File, error) {
	stat, err := f.Stat()
	if err != nil {
		return nil, openError(name, err)
	}
	if !stat.Mode().IsRegular() {
		return nil, fault.New(fault.ModelLoad, "%s: not a regular file", name).With("file", name)
	}
	size := stat.Size()
	if size < headerBytes {
		// Maps of length 0 fail with an unrelated message.
		return nil, (&reader{name: name}).errorf("truncated: %d bytes, a GGUF header has at least %d", size, headerBytes)
	}
	if size != int64(int(size)) {
		return nil, fault.New(fault.ModelLoad, "%s: %d bytes are more than this platform can map", name, size).With("file", name)
	}
	mapping, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "%s: cannot map the file: %w", name, err).With("file", name)
	}
	file, err := parse(name, mapping)
	if err != nil {
		_ = unix.Munmap(mapping) // of a mapping just made: can't fail
		return nil, err
	}
	return file, nil
}

// openError drops the path that os puts into its errors. name is what the error begins with.
func openError(name string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fault.New(fault.ModelLoad, "%s: %w", name, err).With("file", name)
}

// Read reads the tensor's bytes from the one at offset on into dst. Unlike those of Data they do not
// count as memory of the process, beside what is made of them, and a file that was cut short since it
// was opened is an error.
func (f *File) Read(t *Tensor, dst []byte, offset int) error {
	if _, err := f.source.ReadAt(dst, int64(t.offset+offset)); err != nil {
		return openError(fmt.Sprintf("%s: reading tensor %q", f.name, t.Name), err)
	}
	return nil
}

// Close closes and unmaps the file. Data of its tensors must no longer be in use. It is idempotent, but
// not safe to call concurrently with itself.
func (f *File) Close() error {
	mapping, opened := f.mapping, f.opened
	f.opened = nil
	f.mapping, f.tensors, f.metadata, f.keys, f.byName = nil, nil, nil, nil, nil
	if opened == nil {
		return nil
	}
	return errors.Join(unix.Munmap(mapping), opened.Close())
}

// Name returns the file's base name.
func (f *File) Name() string { return f.name }

// Version returns the GGUF version, 2 or 3.
func (f *File) Version() uint32 { return f.version }

// Alignment returns the alignment of tensor data within the file, in bytes.
func (f *File) Alignment() uint64 { return f.alignment }

// Size returns the file's size in bytes.
func (f *File) Size() int64 { return int64(len(f.mapping)) }

// Keys returns the metadata keys in file order.
func (f *File) Keys() []string { return slices.Clone(f.keys) }

// Tensors returns the tensor directory in file order. It must not be changed.
func (f *File) Tensors() []Tensor { return f.tensors }

// Tensor returns the named tensor.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.tensors[i], true
}
