// Package pyjson reads the JSON that Python's json module writes.
package pyjson

import "bytes"

// Standard returns data with the literals that Python adds to JSON, NaN, Infinity and -Infinity,
// as objects, {"__float__": "Infinity"}, which is how transformers writes them where it keeps to
// the standard. It returns data itself if there are none.
func Standard(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	var out []byte
	quoted := false
	for i := 0; i < len(data); {
		if !quoted {
			if literal := literalAt(data[i:]); literal != "" {
				out = append(out, `{"__float__": "`+literal+`"}`...)
				i += len(literal)
				continue
			}
		}
		switch {
		case data[i] == '"':
			quoted = !quoted
		case data[i] == '\\' && quoted && i+1 < len(data):
			out = append(out, data[i])
			i++
		}
		out = append(out, data[i])
		i++
	}
	return out
}

func literalAt(data []byte) string {
	for _, literal := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(data, []byte(literal)) {
			return literal
		}
	}
	return ""
}
