package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits for things that must happen; no test passes because it ran out.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// peer is the far end of a Conn under test.
type peer struct {
	t    *testing.T
	conn *Conn
	in   *io.PipeWriter // to the Conn
	out  *io.PipeReader // from the Conn

	ended chan error // what InputEnded was told
}

// connect starts a Conn whose requests go to handle.
func connect(t *testing.T, maxFrame int, handle func(*Conn, Request)) *peer {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &peer{t: t, in: inW, out: outR, ended: make(chan error, 1)}
	p.conn = NewConn(Config{
		In: inR, Out: outW,
		MaxFrameBytes: maxFrame,
		Handle:        func(r Request) { handle(p.conn, r) },
		InputEnded:    func(err error) { p.ended <- err },
		Logger:        slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		_ = outR.Close()
		_ = p.conn.Close(testContext(t))
	})
	p.conn.Start()
	return p
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(t testing.TB, id any, method string, params any) []byte {
	m := map[string]any{"jsonrpc": "2.0", "method": method}
	if id != nil {
		m["id"] = id
	}
	if params != nil {
		m["params"] = params
	}
	return pack(t, m)
}

// write sends raw bytes from a goroutine, so that the test can read meanwhile.
func (p *peer) write(b []byte) {
	go func() { _, _ = p.in.Write(b) }()
}

// read returns the next message of the Conn.
func (p *peer) read() map[string]any {
	p.t.Helper()
	body, err := readFrame(p.out)
	if err != nil {
		p.t.Fatal("reading a frame:", err)
	}
	return unpack(p.t, body)
}

func readFrame(r io.Reader) ([]byte, error) {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(h[:]))
	_, err := io.ReadFull(r, body)
	return body, err
}

func unpack(t testing.TB, body []byte) map[string]any {
	t.Helper()
	dec := msgpack.NewDecoder(bytes.NewReader(body))
	dec.UseLooseInterfaceDecoding(true)
	m, err := dec.DecodeMap()
	if err != nil {
		t.Fatalf("decoding % x: %v", body, err)
	}
	return signed(m).(map[string]any)
}

// signed makes all integers in v int64, whose sign decides their encoding.
func signed(v any) any {
	switch v := v.(type) {
	case uint64:
		return int64(v)
	case map[string]any:
		for k := range v {
			v[k] = signed(v[k])
		}
	case []any:
		for i := range v {
			v[i] = signed(v[i])
		}
	}
	return v
}

// wantError checks that m is an error response with this id, code and kind.
func wantError(t *testing.T, m map[string]any, id any, code int, kind string) map[string]any {
	t.Helper()
	e, _ := m["error"].(map[string]any)
	if e == nil {
		t.Fatalf("got %v, want an error", m)
	}
	data, _ := e["data"].(map[string]any)
	if m["id"] != id || e["code"] != int64(code) || data["kind"] != kind || e["message"] == "" {
		t.Fatalf("got %v, want id %v, code %d, kind %s", m, id, code, kind)
	}
	return data
}

// echo answers every request with its params.
func echo(c *Conn, r Request) { _ = c.Post(r.ID, r.Params) }
