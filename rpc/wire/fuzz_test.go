package wire

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/sourcegraph/jsonrpc2"
	"github.com/vmihailenco/msgpack/v5"
)

// FuzzReadObject feeds any bytes to a connection. Whatever they are, each frame is served,
// answered with an error or ends the input; the params that a handler gets can be decoded.
func FuzzReadObject(f *testing.F) {
	f.Add(frame(request(f, 1, "echo", map[string]any{"a": []any{1, "x", nil, 2.5, []byte{1}}})))
	f.Add(append(frame(nil), frame([]byte{0xc1})...))
	f.Add(frame([]byte("\x91\x80")))
	f.Add(frame(bytes.Repeat([]byte{0x91}, 200)))
	f.Add(frame([]byte("\x83\xa7jsonrpc\xa32.0\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa6method\xa1m")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		ended := make(chan error, 1)
		var c *Conn
		requests := 0
		c = NewConn(Config{
			In: io.NopCloser(bytes.NewReader(data)), Out: nopCloser{&out},
			MaxFrameBytes: 1 << 16,
			Handle: func(r Request) {
				requests++
				if r.Params != nil {
					dec := msgpack.NewDecoder(bytes.NewReader(r.Params))
					dec.UseLooseInterfaceDecoding(true)
					if _, err := dec.DecodeInterface(); err != nil {
						t.Errorf("params % x: %v", r.Params, err)
					}
				}
				if !r.Notification && !r.ID.IsString && r.ID.Num > maxNumericID {
					t.Errorf("id %d got through", r.ID.Num)
				}
				_ = c.Post(r.ID, pack(t, true))
			},
			InputEnded: func(err error) { ended <- err },
			Logger:     slog.New(slog.DiscardHandler),
		})
		c.Start()
		if err := <-ended; err != nil && err != io.ErrUnexpectedEOF {
			t.Errorf("InputEnded(%v)", err)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error("Close:", err)
		}
		answers := 0
		for out.Len() > 0 {
			body, err := readFrame(&out)
			if err != nil {
				t.Fatal(err)
			}
			m := unpack(t, body)
			if m["result"] == true {
				answers++
				continue
			}
			e := m["error"].(map[string]any)
			if code := e["code"].(int64); code != jsonrpc2.CodeParseError && code != jsonrpc2.CodeInvalidRequest {
				t.Errorf("got %v", m)
			}
		}
		if answers != requests {
			t.Errorf("%d answers to %d requests", answers, requests)
		}
	})
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
