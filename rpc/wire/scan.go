package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// maxDepth is the deepest nesting of arrays and maps in a message. Decoders recurse, and a
// frame's worth of opening brackets would overflow the stack, which Go cannot recover from.
const maxDepth = 64

var errTruncated = errors.New("a value reaches beyond the end of the message")

// errTrailing is the error for so many bytes behind the end of a value.
type errTrailing struct{ bytes int }

func (e errTrailing) Error() string { return fmt.Sprintf("%d bytes follow its end", e.bytes) }

// Class is the type of a MessagePack value.
type Class uint8

// The classes of values. Extension types are not part of the protocol.
const (
	Nil Class = iota
	Bool
	Int
	Float
	String
	Binary
	Array
	Map
)

// String returns the class as part of a sentence: "a string".
func (c Class) String() string {
	return [...]string{"nil", "a boolean", "an integer", "a float", "a string", "binary data", "an array", "a map"}[c]
}

// head is the decoded start of a value: header bytes are followed by size bytes of payload,
// for arrays and maps then by count values (a map of n entries has 2n).
type head struct {
	class  Class
	header int
	size   int
	count  int
}

// readHead decodes the head of the value at the start of b.
func readHead(b []byte) (head, error) {
	if len(b) == 0 {
		return head{}, errTruncated
	}
	code := b[0]
	switch {
	case msgpcode.IsFixedNum(code):
		return head{class: Int, header: 1}, nil
	case msgpcode.IsFixedMap(code):
		return head{class: Map, header: 1, count: 2 * int(code&msgpcode.FixedMapMask)}, nil
	case msgpcode.IsFixedArray(code):
		return head{class: Array, header: 1, count: int(code & msgpcode.FixedArrayMask)}, nil
	case msgpcode.IsFixedString(code):
		return head{class: String, header: 1, size: int(code & msgpcode.FixedStrMask)}, nil
	}
	switch code {
	case msgpcode.Nil:
		return head{class: Nil, header: 1}, nil
	case msgpcode.False, msgpcode.True:
		return head{class: Bool, header: 1}, nil
	case msgpcode.Uint8, msgpcode.Int8:
		return head{class: Int, header: 1, size: 1}, nil
	case msgpcode.Uint16, msgpcode.Int16:
		return head{class: Int, header: 1, size: 2}, nil
	case msgpcode.Uint32, msgpcode.Int32:
		return head{class: Int, header: 1, size: 4}, nil
	case msgpcode.Uint64, msgpcode.Int64:
		return head{class: Int, header: 1, size: 8}, nil
	case msgpcode.Float:
		return head{class: Float, header: 1, size: 4}, nil
	case msgpcode.Double:
		return head{class: Float, header: 1, size: 8}, nil
	case msgpcode.Str8:
		return lengthHead(String, b, 1)
	case msgpcode.Str16:
		return lengthHead(String, b, 2)
	case msgpcode.Str32:
		return lengthHead(String, b, 4)
	case msgpcode.Bin8:
		return lengthHead(Binary, b, 1)
	case msgpcode.Bin16:
		return lengthHead(Binary, b, 2)
	case msgpcode.Bin32:
		return lengthHead(Binary, b, 4)
	case msgpcode.Array16:
		return lengthHead(Array, b, 2)
	case msgpcode.Array32:
		return lengthHead(Array, b, 4)
	case msgpcode.Map16:
		return lengthHead(Map, b, 2)
	case msgpcode.Map32:
		return lengthHead(Map, b, 4)
	}
	if code == 0xc1 {
		return head{}, errors.New("byte 0xc1 is not MessagePack")
	}
	return head{}, errors.New("MessagePack extension types are not part of the protocol")
}

// lengthHead decodes a head whose length takes width bytes after the code.
func lengthHead(c Class, b []byte, width int) (head, error) {
	if len(b) < 1+width {
		return head{}, errTruncated
	}
	var n int
	switch width {
	case 1:
		n = int(b[1])
	case 2:
		n = int(binary.BigEndian.Uint16(b[1:]))
	default:
		n = int(binary.BigEndian.Uint32(b[1:]))
	}
	h := head{class: c, header: 1 + width}
	switch c {
	case Array:
		h.count = n
	case Map:
		h.count = 2 * n
	default:
		h.size = n
	}
	return h, nil
}

// valueEnd checks the value that starts at b[at] and returns where it ends. A value that
// passes is safe for recursive decoders and for those that allocate by declared length: it
// nests at most maxDepth deep, no length exceeds the bytes that are there, and map keys are
// strings.
func valueEnd(b []byte, at int) (int, error) {
	type level struct {
		left  int
		isMap bool
	}
	var stack [maxDepth]level
	depth := 0
	for {
		h, err := readHead(b[at:])
		if err != nil {
			return 0, err
		}
		if depth > 0 {
			top := &stack[depth-1]
			if top.isMap && top.left%2 == 0 && h.class != String {
				return 0, fmt.Errorf("map keys are strings, found %v", h.class)
			}
			top.left--
		}
		at += h.header
		if h.size > len(b)-at || h.count > len(b)-at {
			return 0, errTruncated
		}
		at += h.size
		if h.count > 0 {
			if depth == maxDepth {
				return 0, fmt.Errorf("values nest deeper than %d levels", maxDepth)
			}
			stack[depth] = level{left: h.count, isMap: h.class == Map}
			depth++
		}
		for depth > 0 && stack[depth-1].left == 0 {
			depth--
		}
		if depth == 0 {
			return at, nil
		}
	}
}
