package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sourcegraph/jsonrpc2"
)

const (
	maxNumericID = 1<<53 - 1 // the largest integer that a JavaScript number holds exactly
	maxStringID  = 1024      // bytes
)

// nullID stands for the id null, which jsonrpc2.ID cannot express. It is no valid request id.
var nullID = jsonrpc2.ID{Num: 1 << 63}

// message is a decoded frame. Its params alias the frame's body.
type message struct {
	id       jsonrpc2.ID
	hasID    bool
	method   string
	params   Value // nil: absent
	response bool  // has "result" or "error" and no method
}

// refusal is the answer to a frame that is no valid request.
type refusal struct {
	id jsonrpc2.ID
	*Error
}

func refuse(id jsonrpc2.ID, code int, format string, args ...any) *refusal {
	kind := "InvalidRequest"
	if code == jsonrpc2.CodeParseError {
		kind = "ParseError"
	}
	return &refusal{id, &Error{Code: code, Message: fmt.Sprintf(format, args...), Data: map[string]any{"kind": kind}}}
}

// parseMessage decodes the body of a frame.
func parseMessage(body []byte) (message, *refusal) {
	if len(body) == 0 {
		return message{}, refuse(nullID, jsonrpc2.CodeParseError, "the frame is empty")
	}
	top, err := Check(body)
	if err != nil {
		return message{}, refuse(nullID, jsonrpc2.CodeParseError, "the frame is not one MessagePack value: %v", err)
	}
	switch class := top.Class(); class {
	case Map:
		return parseEnvelope(top)
	case Array:
		return message{}, refuse(nullID, jsonrpc2.CodeInvalidRequest, "batches (arrays of requests) are not supported: send one request a frame")
	default:
		return message{}, refuse(nullID, jsonrpc2.CodeParseError, "the frame holds %v, expected a map", class)
	}
}

// parseEnvelope reads the members of a message.
func parseEnvelope(top Value) (message, *refusal) {
	var (
		m       message
		problem *refusal // the first one; the id may come after it
		version string
		seen    = make(map[string]bool, 4)
	)
	invalid := func(format string, args ...any) {
		if problem == nil {
			problem = refuse(nullID, jsonrpc2.CodeInvalidRequest, format, args...)
		}
	}
	for key, value := range top.Entries() {
		if seen[key] {
			invalid("member %q occurs twice", key)
			continue
		}
		switch key {
		case "jsonrpc":
			version, _ = value.Text()
		case "id":
			id, err := parseID(value)
			if err != nil {
				invalid("id: %v", err)
			} else {
				m.id, m.hasID = id, true
			}
		case "method":
			var ok bool
			if m.method, ok = value.Text(); !ok {
				invalid("method: expected a string, found %v", value.Class())
			}
		case "params":
			if value.Class() != Nil {
				m.params = value
			}
		case "result", "error":
			m.response = true
		default:
			invalid("member %s is not part of JSON-RPC 2.0", Quote(key))
			continue // an unknown key is not kept, so that seen stays small
		}
		seen[key] = true
	}
	switch {
	case version != "2.0":
		invalid(`jsonrpc: expected "2.0"`)
	case m.response && seen["method"]:
		invalid("a message has either a method or a result, not both")
	case !m.response && !seen["method"]:
		invalid("method is missing")
	}
	if problem != nil && m.hasID {
		problem.id = m.id
	}
	return m, problem
}

func parseID(v Value) (jsonrpc2.ID, error) {
	if s, ok := v.Text(); ok {
		switch {
		case len(s) > maxStringID:
			return jsonrpc2.ID{}, fmt.Errorf("a string id has at most %d bytes, this one has %d", maxStringID, len(s))
		case !utf8.ValidString(s):
			return jsonrpc2.ID{}, errors.New("a string id is valid UTF-8")
		}
		return jsonrpc2.ID{Str: s, IsString: true}, nil
	}
	if n, ok := v.Int(); ok && n >= 0 && n <= maxNumericID {
		return jsonrpc2.ID{Num: uint64(n)}, nil
	}
	return jsonrpc2.ID{}, fmt.Errorf("expected a string or an integer in 0..%d", uint64(maxNumericID))
}

// Quote returns s quoted and cut to a length that suits a message for a person.
func Quote(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}
