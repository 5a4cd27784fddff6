package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/sourcegraph/jsonrpc2"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// wantEcho sends a good request and checks that it is served.
func wantEcho(t *testing.T, p *peer, id any) {
	t.Helper()
	p.write(frame(request(t, id, "echo", map[string]any{"text": "ok"})))
	m := p.read()
	result, _ := m["result"].(map[string]any)
	if fmt.Sprint(m["id"]) != fmt.Sprint(id) || result["text"] != "ok" {
		t.Fatalf("got %v, want the echo of request %v", m, id)
	}
}

func TestBadFramesAreAnsweredAndTheNextIsServed(t *testing.T) {
	const parse, invalid = jsonrpc2.CodeParseError, jsonrpc2.CodeInvalidRequest
	deep := func(n int) []byte {
		return append(bytes.Repeat([]byte{msgpcode.FixedArrayLow | 1}, n), msgpcode.Nil)
	}
	raw := func(head string, rest ...byte) []byte { return append([]byte(head), rest...) }
	good := func(m map[string]any) []byte {
		full := map[string]any{"jsonrpc": "2.0", "method": "echo"}
		for k, v := range m {
			full[k] = v
		}
		return pack(t, full)
	}
	const start = "\x84\xa7jsonrpc\xa32.0\xa6method\xa4echo" // a map of 4 with two members
	for name, c := range map[string]struct {
		body []byte
		id   any
		code int
		kind string
	}{
		"empty":                  {nil, nil, parse, "ParseError"},
		"reserved byte":          {[]byte{0xc1}, nil, parse, "ParseError"},
		"text":                   {[]byte(`{"jsonrpc":"2.0"}`), nil, parse, "ParseError"},
		"number":                 {[]byte{7}, nil, parse, "ParseError"},
		"truncated map":          {request(t, 1, "echo", nil)[:9], nil, parse, "ParseError"},
		"trailing byte":          {append(request(t, 1, "echo", nil), 0), nil, parse, "ParseError"},
		"string of 4 GiB":        {raw(start+"\xa6params", 0xdb, 0xff, 0xff, 0xff, 0xff), nil, parse, "ParseError"},
		"array of 4 Gi":          {raw(start+"\xa6params", 0xdd, 0xff, 0xff, 0xff, 0xff), nil, parse, "ParseError"},
		"map of 4 Gi":            {raw(start+"\xa6params", 0xdf, 0xff, 0xff, 0xff, 0xff), nil, parse, "ParseError"},
		"depth bomb":             {deep(1 << 20), nil, parse, "ParseError"},
		"depth bomb in params":   {raw("\x83\xa7jsonrpc\xa32.0\xa6method\xa4echo\xa6params", deep(maxDepth)...), nil, parse, "ParseError"},
		"extension type":         {raw("\x81\xa2id", 0xd4, 1, 1), nil, parse, "ParseError"},
		"key that is no string":  {[]byte{0x81, 1, 1}, nil, parse, "ParseError"},
		"batch":                  {raw("\x91", request(t, 1, "echo", nil)...), nil, invalid, "InvalidRequest"},
		"no method":              {pack(t, map[string]any{"jsonrpc": "2.0", "id": 5}), int64(5), invalid, "InvalidRequest"},
		"no version":             {pack(t, map[string]any{"id": 5, "method": "echo"}), int64(5), invalid, "InvalidRequest"},
		"other version":          {good(map[string]any{"jsonrpc": "1.0", "id": 5}), int64(5), invalid, "InvalidRequest"},
		"method is a number":     {good(map[string]any{"method": 1, "id": "x"}), "x", invalid, "InvalidRequest"},
		"method and result":      {good(map[string]any{"result": 1, "id": "x"}), "x", invalid, "InvalidRequest"},
		"unknown member":         {good(map[string]any{"extra": 1, "id": "x"}), "x", invalid, "InvalidRequest"},
		"duplicate member":       {raw(start+"\xa6method\xa4echo\xa2id", 9), int64(9), invalid, "InvalidRequest"},
		"duplicate id":           {raw(start+"\xa2id\x09\xa2id", 9), int64(9), invalid, "InvalidRequest"},
		"id null":                {raw("\x83\xa7jsonrpc\xa32.0\xa6method\xa4echo\xa2id", msgpcode.Nil), nil, invalid, "InvalidRequest"},
		"id negative":            {good(map[string]any{"id": -1}), nil, invalid, "InvalidRequest"},
		"id very negative":       {good(map[string]any{"id": int64(-1 << 60)}), nil, invalid, "InvalidRequest"},
		"id fractional":          {good(map[string]any{"id": 1.5}), nil, invalid, "InvalidRequest"},
		"id 2^53":                {good(map[string]any{"id": 1 << 53}), nil, invalid, "InvalidRequest"},
		"id 2^63":                {good(map[string]any{"id": uint64(1 << 63)}), nil, invalid, "InvalidRequest"},
		"id boolean":             {good(map[string]any{"id": true}), nil, invalid, "InvalidRequest"},
		"id long":                {good(map[string]any{"id": string(make([]byte, maxStringID+1))}), nil, invalid, "InvalidRequest"},
		"id that is not UTF-8":   {good(map[string]any{"id": "\xff"}), nil, invalid, "InvalidRequest"},
		"id binary":              {good(map[string]any{"id": []byte("x")}), nil, invalid, "InvalidRequest"},
		"params without a value": {raw(start + "\xa2id\x01\xa6params"), nil, parse, "ParseError"},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, 0, echo)
			p.write(frame(c.body))
			wantError(t, p.read(), c.id, c.code, c.kind)
			wantEcho(t, p, 1)
		})
	}
}

func TestOversizeFrameIsSkipped(t *testing.T) {
	const limit = 256
	p := connect(t, limit, echo)
	for _, size := range []int{limit + 1, 10 * limit, 1 << 20} {
		p.write(frame(make([]byte, size)))
		data := wantError(t, p.read(), nil, jsonrpc2.CodeInvalidRequest, "FrameTooLarge")
		if data["limit"] != int64(limit) {
			t.Errorf("data.limit = %v, want %d", data["limit"], limit)
		}
		wantEcho(t, p, size)
	}
	// A frame of exactly the limit is read: this one is garbage of that size.
	p.write(frame(bytes.Repeat([]byte{0xc1}, limit)))
	wantError(t, p.read(), nil, jsonrpc2.CodeParseError, "ParseError")
}

func TestResultLargerThanAFrameBecomesAnError(t *testing.T) {
	p := connect(t, 4096, func(c *Conn, r Request) {
		go func() { _ = c.Reply(context.Background(), r.ID, pack(t, string(make([]byte, 4096)))) }()
	})
	p.write(frame(request(t, 1, "echo", nil)))
	wantError(t, p.read(), int64(1), jsonrpc2.CodeInvalidRequest, "FrameTooLarge")
}

func TestEverySplitPosition(t *testing.T) {
	stream := append(frame(request(t, 1, "echo", "grüße 🌍")), frame(request(t, "two", "echo", []int{1, 2, 3}))...)
	for cut := range len(stream) + 1 {
		p := connect(t, 0, echo)
		go func() {
			_, _ = p.in.Write(stream[:cut])
			_, _ = p.in.Write(stream[cut:])
		}()
		if m := p.read(); m["id"] != int64(1) || m["result"] != "grüße 🌍" {
			t.Fatalf("cut at %d: got %v", cut, m)
		}
		if m := p.read(); m["id"] != "two" || fmt.Sprint(m["result"]) != "[1 2 3]" {
			t.Fatalf("cut at %d: got %v", cut, m)
		}
	}
}

func TestIDsComeBackAsSent(t *testing.T) {
	p := connect(t, 0, echo)
	for _, id := range []any{0, 1, 127, 128, 255, 256, 65536, 1<<32 + 1, uint64(maxNumericID), "", "0", "ünï\n", string(bytes.Repeat([]byte("x"), maxStringID))} {
		wantEcho(t, p, id)
	}
}

func TestNotificationAndParams(t *testing.T) {
	got := make(chan Request, 3)
	p := connect(t, 0, func(_ *Conn, r Request) { got <- r })
	p.write(bytes.Join([][]byte{
		frame(request(t, nil, "first", map[string]any{"a": 1})),
		frame(request(t, 2, "second", nil)),
		frame(append([]byte("\x84\xa7jsonrpc\xa32.0\xa6method\xa5third\xa2id\x03\xa6params"), msgpcode.Nil)),
	}, nil))
	if r := <-got; !r.Notification || r.Method != "first" || !bytes.Equal([]byte(r.Params), pack(t, map[string]any{"a": 1})) {
		t.Errorf("first: got %+v", r)
	}
	if r := <-got; r.Notification || r.Method != "second" || r.Params != nil {
		t.Errorf("second, whose params are absent: got %+v", r)
	}
	if r := <-got; r.Notification || r.Method != "third" || r.Params != nil {
		t.Errorf("third, whose params are nil: got %+v", r)
	}
}

// A refused frame's params must not reach the next request, nor a response the handler.
func TestNothingLeaksIntoTheNextRequest(t *testing.T) {
	got := make(chan Request, 1)
	p := connect(t, 0, func(_ *Conn, r Request) { got <- r })
	p.write(bytes.Join([][]byte{
		frame(pack(t, map[string]any{"jsonrpc": "2.0", "id": 1, "params": "stale"})),
		frame(pack(t, map[string]any{"jsonrpc": "2.0", "id": 2, "result": "stale"})),
		frame(request(t, 3, "next", nil)),
	}, nil))
	wantError(t, p.read(), int64(1), jsonrpc2.CodeInvalidRequest, "InvalidRequest")
	if r := <-got; r.ID.Num != 3 || r.Params != nil {
		t.Errorf("got %+v, want request 3 without params", r)
	}
}

func TestEndOfInput(t *testing.T) {
	whole := frame(request(t, 1, "echo", 1))
	for name, c := range map[string]struct {
		sent []byte
		want error
	}{
		"between frames":         {nil, nil},
		"inside a length":        {whole[:3], io.ErrUnexpectedEOF},
		"after a length":         {whole[:4], io.ErrUnexpectedEOF},
		"inside a body":          {whole[:len(whole)-1], io.ErrUnexpectedEOF},
		"inside an oversize one": {[]byte{0xff, 0, 0, 0, 1, 2, 3}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, 0, echo)
			go func() {
				_, _ = p.in.Write(c.sent)
				_ = p.in.Close()
			}()
			if name == "inside an oversize one" {
				wantError(t, p.read(), nil, jsonrpc2.CodeInvalidRequest, "FrameTooLarge")
			}
			if err := <-p.ended; err != c.want {
				t.Fatalf("InputEnded(%v), want %v", err, c.want)
			}
			// The connection still sends, and flushes what it has before it closes.
			if err := p.conn.Notify(testContext(t), "bye", pack(t, 1)); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- p.conn.Close(testContext(t)) }()
			if m := p.read(); m["method"] != "bye" {
				t.Errorf("got %v, want the notification", m)
			}
			if _, err := readFrame(p.out); err != io.EOF {
				t.Errorf("after Close: %v, want EOF", err)
			}
			if err := <-closed; err != nil {
				t.Error("Close:", err)
			}
		})
	}
}

func TestCloseBeforeStart(t *testing.T) {
	in, _ := io.Pipe()
	_, out := io.Pipe()
	c := NewConn(Config{In: in, Out: out, Handle: func(Request) {}})
	if err := c.Close(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestHookOrder is the contract that this package has with jsonrpc2: under concurrency every
// message is written with the payload that OnSend saw for it, and every request handled with
// the params of its own frame.
func TestHookOrder(t *testing.T) {
	const senders, each = 8, 300
	payload := func(sender, i int) string {
		return fmt.Sprintf("%d/%d/%s", sender, i, bytes.Repeat([]byte{'a' + byte(sender)}, i%300))
	}
	p := connect(t, 0, func(c *Conn, r Request) {
		go func() {
			ctx := context.Background()
			if r.ID.Num%10 == 9 {
				_ = c.ReplyError(ctx, r.ID, &Error{Code: -32001, Message: r.Method, Data: map[string]any{"kind": r.Method}})
				return
			}
			_ = c.Reply(ctx, r.ID, r.Params)
		}()
	})
	var wg sync.WaitGroup
	for s := range senders {
		wg.Add(2)
		go func() { // requests; writes of a pipe are whole
			defer wg.Done()
			for i := range each {
				id := s*each + i
				_, _ = p.in.Write(frame(request(t, id, fmt.Sprint("m", id), payload(s, i))))
			}
		}()
		go func() { // notifications
			defer wg.Done()
			for i := range each {
				if err := p.conn.Notify(testContext(t), fmt.Sprint("n", s), pack(t, payload(s, i))); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	answered := map[int64]bool{}
	notified := make([]int, senders)
	for range 2 * senders * each {
		m := p.read()
		if method, ok := m["method"].(string); ok {
			var s int
			_, _ = fmt.Sscanf(method, "n%d", &s)
			if want := payload(s, notified[s]); m["params"] != want {
				t.Fatalf("notification %s: got %v, want %s", method, m["params"], want)
			}
			notified[s]++
			continue
		}
		id := m["id"].(int64)
		if answered[id] {
			t.Fatalf("request %d was answered twice", id)
		}
		answered[id] = true
		if id%10 == 9 {
			wantError(t, m, id, -32001, fmt.Sprint("m", id))
		} else if want := payload(int(id)/each, int(id)%each); m["result"] != want {
			t.Fatalf("request %d: got %v, want %s", id, m["result"], want)
		}
	}
	wg.Wait()
}

func TestWriteWithoutHookIsRefused(t *testing.T) {
	p := connect(t, 0, echo)
	if err := p.conn.stream.WriteObject(nil); !errors.Is(err, errNoHook) {
		t.Errorf("got %v, want errNoHook", err)
	}
}
