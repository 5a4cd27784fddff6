package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"mlx-worker/rpc/wire"
)

// appendJSON appends v as JSON. The order of keys is kept: chat templates print objects, and
// a model was trained on the order that its template was given. Bytes that are not UTF-8
// become U+FFFD.
func appendJSON(dst []byte, v wire.Value) ([]byte, error) {
	switch v.Class() {
	case wire.Nil:
		return append(dst, "null"...), nil
	case wire.Bool:
		b, _ := v.Bool()
		return strconv.AppendBool(dst, b), nil
	case wire.Int:
		n, ok := v.Int()
		if !ok {
			return nil, errors.New("an integer is larger than 2^63-1")
		}
		return strconv.AppendInt(dst, n, 10), nil
	case wire.Float:
		x, _ := v.Float()
		number, err := json.Marshal(x) // not for NaN and the infinities
		return append(dst, number...), err
	case wire.String:
		s, _ := v.Text()
		return appendJSONString(dst, s)
	case wire.Array:
		return appendJSONArray(dst, v)
	case wire.Map:
		return appendJSONObject(dst, v)
	}
	return nil, fmt.Errorf("found %v", v.Class())
}

func appendJSONString(dst []byte, s string) ([]byte, error) {
	text, err := json.Marshal(s)
	return append(dst, text...), err
}

func appendJSONArray(dst []byte, v wire.Value) (_ []byte, err error) {
	dst = append(dst, '[')
	first := true
	for item := range v.Items() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if dst, err = appendJSON(dst, item); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func appendJSONObject(dst []byte, v wire.Value) (_ []byte, err error) {
	dst = append(dst, '{')
	seen := map[string]bool{}
	for key, value := range v.Entries() {
		if seen[key] {
			return nil, fmt.Errorf("key %s occurs twice in one object", wire.Quote(key))
		}
		if len(seen) > 0 {
			dst = append(dst, ',')
		}
		seen[key] = true
		if dst, err = appendJSONString(dst, key); err != nil {
			return nil, err
		}
		dst = append(dst, ':')
		if dst, err = appendJSON(dst, value); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
