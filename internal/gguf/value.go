package gguf

import (
	"encoding/binary"
	"math"
	"strings"
)

// maxNesting bounds arrays of arrays; no known file has any.
const maxNesting = 4

// value is a metadata value that was checked but not decoded: arrays of a vocabulary's size
// are decoded only for who asks for them.
type value struct {
	typ   valueType
	elem  valueType // of an array
	count uint64    // of an array
	raw   []byte    // behind the type tags and counts; a string's bytes without its length
}

// value reads the type tag and the value of key.
func (r *reader) value(key string) (value, error) {
	tag, err := r.uint32("a metadata type")
	if err != nil {
		return value{}, err
	}
	return r.valueOf(key, valueType(tag), 0)
}

func (r *reader) valueOf(key string, typ valueType, depth int) (value, error) {
	switch typ {
	case typeString:
		n, err := r.uint64("a string's length")
		if err != nil {
			return value{}, err
		}
		raw, err := r.take(n, "the string ", key)
		return value{typ: typ, raw: raw}, err
	case typeArray:
		return r.array(key, depth)
	default:
		if typ.size() == 0 {
			return value{}, r.errorf("metadata key %q has the unknown value %s", key, typ)
		}
		raw, err := r.take(typ.size(), "the value of ", key)
		if err == nil && typ == typeBool && raw[0] > 1 {
			err = r.errorf("metadata key %q is a bool of value %d", key, raw[0])
		}
		return value{typ: typ, raw: raw}, err
	}
}

func (r *reader) array(key string, depth int) (value, error) {
	if depth >= maxNesting {
		return value{}, r.errorf("metadata key %q nests arrays deeper than %d", key, maxNesting)
	}
	tag, err := r.uint32("an array's element type")
	if err != nil {
		return value{}, err
	}
	v := value{typ: typeArray, elem: valueType(tag)}
	if v.count, err = r.uint64("an array's length"); err != nil {
		return value{}, err
	}
	start := r.pos
	if size := v.elem.size(); size > 0 {
		if v.count > r.left()/size {
			return value{}, r.errorf("truncated at byte %d: the array %s has %d elements of %d bytes, %d bytes are left", r.pos, key, v.count, size, r.left())
		}
		r.pos += v.count * size
		v.raw = r.buf[start:r.pos]
		if v.elem == typeBool {
			for _, b := range v.raw {
				if b > 1 {
					return value{}, r.errorf("metadata key %q holds a bool of value %d", key, b)
				}
			}
		}
		return v, nil
	}
	if v.elem != typeString && v.elem != typeArray {
		return value{}, r.errorf("metadata key %q is an array of the unknown %s", key, v.elem)
	}
	for range v.count { // every element takes bytes, so a false count ends at the file's end
		if _, err := r.valueOf(key, v.elem, depth+1); err != nil {
			return value{}, err
		}
	}
	v.raw = r.buf[start:r.pos]
	return v, nil
}

// strings decodes an array of strings as substrings of one allocation.
func (v value) strings() []string {
	var all strings.Builder
	all.Grow(len(v.raw) - 8*int(v.count))
	for rest := v.raw; len(rest) > 0; {
		n := binary.LittleEndian.Uint64(rest)
		all.Write(rest[8 : 8+n])
		rest = rest[8+n:]
	}
	text := all.String()
	out := make([]string, v.count)
	rest := v.raw
	for i := range out {
		n := binary.LittleEndian.Uint64(rest)
		out[i], text = text[:n], text[n:]
		rest = rest[8+n:]
	}
	return out
}

// integer returns an integer value; ok is false for other types. Values above 1<<63-1 are
// returned in u with negative false.
func (v value) integer() (u uint64, negative, ok bool) {
	i := int64(0)
	switch v.typ {
	case typeUint8:
		return uint64(v.raw[0]), false, true
	case typeUint16:
		return uint64(binary.LittleEndian.Uint16(v.raw)), false, true
	case typeUint32:
		return uint64(binary.LittleEndian.Uint32(v.raw)), false, true
	case typeUint64:
		return binary.LittleEndian.Uint64(v.raw), false, true
	case typeInt8:
		i = int64(int8(v.raw[0]))
	case typeInt16:
		i = int64(int16(binary.LittleEndian.Uint16(v.raw)))
	case typeInt32:
		i = int64(int32(binary.LittleEndian.Uint32(v.raw)))
	case typeInt64:
		i = int64(binary.LittleEndian.Uint64(v.raw))
	default:
		return 0, false, false
	}
	return uint64(i), i < 0, true
}

// float returns a floating-point value; ok is false for other types.
func (v value) float() (float64, bool) {
	switch v.typ {
	case typeFloat32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw))), true
	case typeFloat64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.raw)), true
	}
	return 0, false
}

// elements iterates over an array of fixed-size elements.
func (v value) elements(yield func(i int, elem value) bool) {
	size := int(v.elem.size())
	for i := range int(v.count) {
		if !yield(i, value{typ: v.elem, raw: v.raw[i*size : (i+1)*size]}) {
			return
		}
	}
}
