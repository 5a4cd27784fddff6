package wire

import (
	"encoding/binary"
	"iter"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Value is one encoded MessagePack value that has passed the check of incoming messages: it
// is complete, nests at most 64 levels deep and its map keys are strings. Its methods look
// into it without decoding, and so without allocating, more than they are asked for. They
// must not be used on bytes that were not checked.
type Value []byte

// Class returns the type of v.
func (v Value) Class() Class { return v.head().class }

func (v Value) head() head {
	h, err := readHead(v)
	if err != nil {
		panic("wire: Value was not checked: " + err.Error())
	}
	return h
}

// Text returns a string.
func (v Value) Text() (s string, ok bool) {
	h := v.head()
	if h.class != String {
		return "", false
	}
	return string(v[h.header : h.header+h.size]), true
}

// Bool returns a boolean.
func (v Value) Bool() (b, ok bool) {
	return v[0] == msgpcode.True, v.Class() == Bool
}

// Int returns an integer that fits into an int64.
func (v Value) Int() (n int64, ok bool) {
	switch code := v[0]; code {
	case msgpcode.Uint8:
		return int64(v[1]), true
	case msgpcode.Uint16:
		return int64(binary.BigEndian.Uint16(v[1:])), true
	case msgpcode.Uint32:
		return int64(binary.BigEndian.Uint32(v[1:])), true
	case msgpcode.Uint64:
		u := binary.BigEndian.Uint64(v[1:])
		return int64(u), u <= math.MaxInt64
	case msgpcode.Int8:
		return int64(int8(v[1])), true
	case msgpcode.Int16:
		return int64(int16(binary.BigEndian.Uint16(v[1:]))), true
	case msgpcode.Int32:
		return int64(int32(binary.BigEndian.Uint32(v[1:]))), true
	case msgpcode.Int64:
		return int64(binary.BigEndian.Uint64(v[1:])), true
	default:
		return int64(int8(code)), msgpcode.IsFixedNum(code)
	}
}

// Float returns a number, be it encoded as a float or as an integer.
func (v Value) Float() (f float64, ok bool) {
	switch v[0] {
	case msgpcode.Float:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v[1:]))), true
	case msgpcode.Double:
		return math.Float64frombits(binary.BigEndian.Uint64(v[1:])), true
	case msgpcode.Uint64:
		return float64(binary.BigEndian.Uint64(v[1:])), true
	}
	n, ok := v.Int()
	return float64(n), ok
}

// Len returns the number of items of an array or entries of a map, else 0.
func (v Value) Len() int {
	h := v.head()
	if h.class == Map {
		return h.count / 2
	}
	return h.count
}

// Items yields the items of an array.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		h := v.head()
		if h.class != Array {
			return
		}
		at := h.header
		for range h.count {
			item := v.next(at)
			if !yield(item) {
				return
			}
			at += len(item)
		}
	}
}

// Entries yields the keys and values of a map in the order they have there. Keys may repeat.
func (v Value) Entries() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		h := v.head()
		if h.class != Map {
			return
		}
		at := h.header
		for range h.count / 2 {
			key := v.next(at)
			at += len(key)
			value := v.next(at)
			at += len(value)
			name, _ := key.Text()
			if !yield(name, value) {
				return
			}
		}
	}
}

// next returns the value that starts at v[at].
func (v Value) next(at int) Value {
	end, err := valueEnd(v, at)
	if err != nil {
		panic("wire: Value was not checked: " + err.Error())
	}
	return v[at:end:end]
}

// Check returns b as a Value, or an error that says why it is not one complete value.
func Check(b []byte) (Value, error) {
	end, err := valueEnd(b, 0)
	switch {
	case err != nil:
		return nil, err
	case end != len(b):
		return nil, errTrailing{len(b) - end}
	}
	return b, nil
}
