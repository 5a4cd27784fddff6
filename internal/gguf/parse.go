package gguf

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	magic            = "GGUF"
	headerBytes      = 4 + 4 + 8 + 8 // magic, version, tensor count, metadata count
	defaultAlignment = 32
	maxAlignment     = 1 << 20
	maxKeyBytes      = 1<<16 - 1 // by the format's specification
	maxNameBytes     = 1024      // ggml itself allows 63
	maxDims          = 4
	maxEntries       = 1 << 20 // metadata keys, tensors

	// Least bytes of one entry: counts above (bytes left / least) can't be true, and are
	// refused before anything is allocated for them.
	minMetadataBytes = 8 + 4 + 1
	minTensorBytes   = 8 + 4 + 4 + 8
)

// parse checks a whole file. It keeps buf, for tensor data and arrays.
func parse(name string, buf []byte) (*File, error) {
	r := &reader{name: name, buf: buf}
	f := &File{name: name, mapping: buf, source: bytes.NewReader(buf), alignment: defaultAlignment}
	tensorCount, metadataCount, err := f.parsePreamble(r)
	if err != nil {
		return nil, err
	}
	if err := f.parseMetadata(r, metadataCount); err != nil {
		return nil, err
	}
	if err := f.parseAlignment(r); err != nil {
		return nil, err
	}
	if err := f.parseTensors(r, tensorCount); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) parsePreamble(r *reader) (tensors, metadata uint64, err error) {
	head, err := r.take(4, "the magic", "")
	if err != nil {
		return 0, 0, err
	}
	if string(head) != magic {
		return 0, 0, r.errorf("wrong magic %q: a GGUF file begins with %q", head, magic)
	}
	if f.version, err = r.uint32("the version"); err != nil {
		return 0, 0, err
	}
	switch {
	case f.version == 2 || f.version == 3:
	case f.version&0xffff == 0 && f.version != 0:
		return 0, 0, r.errorf("big-endian GGUF files are not supported (version bytes %#08x)", f.version).
			With("version", int64(bits.ReverseBytes32(f.version)))
	default:
		return 0, 0, r.errorf("GGUF version %d is not supported; accepted: 2 and 3", f.version).
			With("version", int64(f.version))
	}
	if tensors, err = r.uint64("the tensor count"); err != nil {
		return 0, 0, err
	}
	if metadata, err = r.uint64("the metadata count"); err != nil {
		return 0, 0, err
	}
	if metadata > maxEntries || metadata > r.left()/minMetadataBytes {
		return 0, 0, r.errorf("metadata count %d cannot be true: %d bytes are left in the file", metadata, r.left())
	}
	if tensors > maxEntries || tensors > r.left()/minTensorBytes {
		return 0, 0, r.errorf("tensor count %d cannot be true: %d bytes are left in the file", tensors, r.left())
	}
	return tensors, metadata, nil
}

func (f *File) parseMetadata(r *reader, count uint64) error {
	// Both grow as entries are read, so that a false count costs nothing.
	f.metadata = map[string]value{}
	for range count {
		key, err := r.string(maxKeyBytes, "a metadata key")
		if err != nil {
			return err
		}
		if _, dup := f.metadata[key]; dup {
			return r.errorf("metadata key %q occurs twice", key)
		}
		v, err := r.value(key)
		if err != nil {
			return err
		}
		f.metadata[key] = v
		f.keys = append(f.keys, key)
	}
	return nil
}

func (f *File) parseAlignment(r *reader) error {
	alignment, ok, err := Get[uint64](f, "general.alignment")
	if err != nil || !ok {
		return err
	}
	if alignment == 0 || alignment > maxAlignment || alignment&(alignment-1) != 0 {
		return r.errorf("general.alignment is %d; accepted: a power of two up to %d", alignment, maxAlignment)
	}
	f.alignment = alignment
	return nil
}

// parseTensors reads the directory, then places every tensor: offsets count from the end of
// the directory, rounded up to the alignment.
func (f *File) parseTensors(r *reader, count uint64) error {
	f.byName = map[string]int{}
	var offsets []uint64
	for range count {
		t, offset, err := r.tensorInfo()
		if err != nil {
			return err
		}
		if _, dup := f.byName[t.Name]; dup {
			return r.errorf("tensor %q occurs twice", t.Name)
		}
		f.byName[t.Name] = len(f.tensors)
		f.tensors = append(f.tensors, t)
		offsets = append(offsets, offset)
	}
	start := (r.pos + f.alignment - 1) &^ (f.alignment - 1)
	for i := range f.tensors {
		if err := f.place(r, &f.tensors[i], start, offsets[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) place(r *reader, t *Tensor, start, offset uint64) error {
	size, err := r.tensorBytes(t)
	if err != nil {
		return err
	}
	if offset%f.alignment != 0 {
		return r.errorf("tensor %q begins at offset %d, which is no multiple of the alignment %d", t.Name, offset, f.alignment)
	}
	begin, carry := bits.Add64(start, offset, 0)
	end, carry2 := bits.Add64(begin, size, 0)
	if carry+carry2 != 0 || end > uint64(len(f.mapping)) {
		return r.errorf("tensor %q extends past the end of the file: %d bytes at offset %d of the tensor data, the file has %d bytes (a partial download?)",
			t.Name, size, offset, len(f.mapping)).With("tensor", t.Name)
	}
	t.data, t.offset = f.mapping[begin:end:end], int(begin)
	return nil
}

func (r *reader) tensorInfo() (Tensor, uint64, error) {
	var t Tensor
	var err error
	if t.Name, err = r.string(maxNameBytes, "a tensor name"); err != nil {
		return t, 0, err
	}
	dims, err := r.uint32("a tensor's dimension count")
	if err != nil {
		return t, 0, err
	}
	if dims > maxDims {
		return t, 0, r.errorf("tensor %q has %d dimensions; at most %d are accepted", t.Name, dims, maxDims).With("tensor", t.Name)
	}
	sizes, err := r.take(8*uint64(dims), "a tensor's dimensions", "")
	if err != nil {
		return t, 0, err
	}
	t.Dims = make([]uint64, dims)
	for i := range t.Dims {
		t.Dims[i] = binary.LittleEndian.Uint64(sizes[8*i:])
	}
	typ, err := r.uint32("a tensor's type")
	if err != nil {
		return t, 0, err
	}
	t.Type = TensorType(typ)
	offset, err := r.uint64("a tensor's offset")
	return t, offset, err
}

// tensorBytes returns the size of t's data.
func (r *reader) tensorBytes(t *Tensor) (uint64, error) {
	blockElements, blockBytes, ok := t.Type.Block()
	if !ok {
		return 0, r.errorf("tensor %q has the tensor type %s, which is not known", t.Name, t.Type).
			With("tensor", t.Name).With("tensor_type", t.Type.String())
	}
	row := uint64(1)
	if len(t.Dims) > 0 {
		row = t.Dims[0]
	}
	if row%uint64(blockElements) != 0 {
		return 0, r.errorf("tensor %q (%s) has rows of %d elements, which is no multiple of the block size %d",
			t.Name, t.Type, row, blockElements).With("tensor", t.Name)
	}
	elements := uint64(1)
	for _, d := range t.Dims {
		high, low := bits.Mul64(elements, d)
		if d == 0 || high != 0 {
			return 0, r.errorf("tensor %q has impossible dimensions %v", t.Name, t.Dims).With("tensor", t.Name)
		}
		elements = low
	}
	high, size := bits.Mul64(elements/uint64(blockElements), uint64(blockBytes))
	if high != 0 {
		return 0, r.errorf("tensor %q has impossible dimensions %v", t.Name, t.Dims).With("tensor", t.Name)
	}
	return size, nil
}
