package wire

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/sourcegraph/jsonrpc2"
	"github.com/vmihailenco/msgpack/v5"
)

// envelopeSize is at least what a frame holds beside the texts and the payload of a message:
// length, keys, numbers.
const envelopeSize = 96

// paramsField is the extra field of a jsonrpc2.Request that carries encoded params. Extra
// fields are never marshalled unless jsonrpc2 encodes the request itself, which it does not.
const paramsField = "\x00msgpack"

func rawParams(params []byte) jsonrpc2.CallOption {
	return jsonrpc2.ExtraField(paramsField, msgpack.RawMessage(params))
}

// envelope encodes all of a message but its payload. Not safe for concurrent use.
type envelope struct {
	buf *bytes.Buffer
	enc *msgpack.Encoder
}

func newEnvelope() envelope {
	buf := new(bytes.Buffer)
	enc := msgpack.NewEncoder(buf)
	enc.UseCompactInts(true)
	return envelope{buf, enc}
}

var errNoHook = errors.New("wire: jsonrpc2 wrote a message without calling OnSend first")

// encode returns the body of a frame in two parts, valid until the next call.
func (v envelope) encode(req *jsonrpc2.Request, resp *jsonrpc2.Response) (start, payload []byte, err error) {
	v.buf.Reset()
	switch {
	case req != nil:
		payload, err = v.notification(req)
	case resp != nil:
		payload, err = v.response(resp)
	default:
		err = errNoHook
	}
	return v.buf.Bytes(), payload, err
}

func (v envelope) notification(req *jsonrpc2.Request) ([]byte, error) {
	if !req.Notif {
		return nil, errors.New("wire: the worker sends no requests")
	}
	var params msgpack.RawMessage
	for _, f := range req.ExtraFields {
		if f.Name == paramsField {
			params = f.Value.(msgpack.RawMessage)
		}
	}
	members := 2
	if params != nil {
		members++
	}
	err := errors.Join(v.start(members), v.enc.EncodeString("method"), v.enc.EncodeString(req.Method))
	if params != nil {
		err = errors.Join(err, v.enc.EncodeString("params"))
	}
	return params, err
}

func (v envelope) response(resp *jsonrpc2.Response) ([]byte, error) {
	err := errors.Join(v.start(3), v.enc.EncodeString("id"))
	switch {
	case resp.ID == nullID:
		err = errors.Join(err, v.enc.EncodeNil())
	case resp.ID.IsString:
		err = errors.Join(err, v.enc.EncodeString(resp.ID.Str))
	default:
		err = errors.Join(err, v.enc.EncodeUint(resp.ID.Num))
	}
	if e := resp.Error; e != nil {
		return *e.Data, errors.Join(err,
			v.enc.EncodeString("error"), v.enc.EncodeMapLen(3),
			v.enc.EncodeString("code"), v.enc.EncodeInt(e.Code),
			v.enc.EncodeString("message"), v.enc.EncodeString(e.Message),
			v.enc.EncodeString("data"))
	}
	return *resp.Result, errors.Join(err, v.enc.EncodeString("result"))
}

func (v envelope) start(members int) error {
	return errors.Join(v.enc.EncodeMapLen(members), v.enc.EncodeString("jsonrpc"), v.enc.EncodeString("2.0"))
}

// Marshal encodes v as this package's peers expect it: integers in their shortest form, map
// keys in order. Struct fields are named by "msgpack" tags.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.NewEncoder(&buf)
	enc.UseCompactInts(true)
	enc.SetSortMapKeys(true)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// encodeError makes e jsonrpc2's. Its data is never absent, as programs branch on data.kind.
func encodeError(e *Error) (*jsonrpc2.Error, error) {
	data, err := Marshal(e.Data)
	if err != nil {
		return nil, err
	}
	return &jsonrpc2.Error{Code: int64(e.Code), Message: e.Message, Data: (*json.RawMessage)(&data)}, nil
}

func errorSize(id jsonrpc2.ID, e *jsonrpc2.Error) int {
	return len(id.Str) + len(e.Message) + len(*e.Data) + envelopeSize
}
