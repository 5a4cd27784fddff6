package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// msg is a decoded MessagePack map.
type msg = map[string]any

// worker is a Serve under test and its client. It lives in a synctest bubble: time passes
// only when everybody waits, and a goroutine that Serve leaves behind fails the test.
type worker struct {
	t      *testing.T
	engine *fakeEngine
	in     *io.PipeWriter
	out    *io.PipeReader
	served chan error // what Serve returned
	closed atomic.Int32
	cancel context.CancelFunc // of Serve's context
	log    *bytes.Buffer
	nextID int
	notes  []msg // notifications that were read while waiting for something else
	ready  msg   // params of worker/ready
}

// serve runs f with a worker on engine.
func serve(t *testing.T, engine *fakeEngine, f func(*worker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, engine, nil)
		f(w)
		w.end()
	})
}

// start starts a worker; change may alter its options.
func start(t *testing.T, engine *fakeEngine, change func(*Options)) *worker {
	t.Helper()
	engine.enter()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	w := &worker{t: t, engine: engine, in: inW, out: outR, served: make(chan error, 1), log: new(bytes.Buffer)}
	opts := Options{
		In: inR, Out: outW,
		Batcher: batcher.New(engine, batcher.Config{}),
		OpenText: func(path string) (TextModel, error) {
			if strings.Contains(path, "textless") {
				return nil, fault.New(fault.Tokenizer, "there is no tokenizer")
			}
			return &fakeText{noTemplate: strings.Contains(path, "plain"), panics: strings.Contains(path, "panic"), closed: &w.closed}, nil
		},
		NewStopMatcher: func(stops []string) StopMatcher { return &fakeMatcher{stops: stops} },
		ResolveModel: func(modelID, localPath, _ string) (string, error) {
			if strings.Contains(modelID, "missing") {
				return "", fault.New(fault.ModelLoad, "no such model: %s", modelID)
			}
			return "/models/" + modelID + localPath, nil
		},
		Memory: engine.Memory,
		RSS:    func() int64 { return 4 },
		Info:   Info{Version: "1.2.3", MLXVersion: "0.32.2", MLXCVersion: "0.7.0", Backend: "cpu", Device: Device{Name: "fake", MemoryBytes: 5}, PID: 42},

		DrainTimeout: 5 * time.Second,
		Logger:       slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if change != nil {
		change(&opts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() { w.served <- Serve(ctx, opts) }()
	if opts.Out == outW {
		first := w.read()
		if first["method"] != "worker/ready" {
			t.Fatalf("the first frame is %v", first)
		}
		w.ready = first["params"].(msg)
	}
	return w
}

// end closes the input and checks that Serve returns without an error.
func (w *worker) end() {
	w.t.Helper()
	go func() { _, _ = io.Copy(io.Discard, w.out) }()
	_ = w.in.Close()
	if err := <-w.served; err != nil {
		w.t.Error("Serve:", err)
	}
	w.cancel()
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// send sends a request and returns its id.
func (w *worker) send(method string, params any) int {
	w.t.Helper()
	w.nextID++
	m := msg{"jsonrpc": "2.0", "id": w.nextID, "method": method}
	if params != nil {
		m["params"] = params
	}
	w.write(m)
	return w.nextID
}

func (w *worker) write(m msg) {
	w.t.Helper()
	body, err := wire.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.in.Write(frame(body)); err != nil {
		w.t.Fatal("writing to the worker:", err)
	}
}

// read returns the worker's next message.
func (w *worker) read() msg {
	w.t.Helper()
	var h [4]byte
	if _, err := io.ReadFull(w.out, h[:]); err != nil {
		w.t.Fatal("reading from the worker:", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(h[:]))
	if _, err := io.ReadFull(w.out, body); err != nil {
		w.t.Fatal("reading from the worker:", err)
	}
	dec := msgpack.NewDecoder(bytes.NewReader(body))
	dec.UseLooseInterfaceDecoding(true)
	m, err := dec.DecodeMap()
	if err != nil {
		w.t.Fatalf("decoding % x: %v", body, err)
	}
	return plain(m).(msg)
}

// plain makes all integers int, whatever their encoding.
func plain(v any) any {
	switch v := v.(type) {
	case uint64:
		return int(v)
	case int64:
		return int(v)
	case msg:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

// response reads until the response to id; notifications on the way are kept.
func (w *worker) response(id int) msg {
	w.t.Helper()
	for {
		m := w.read()
		if _, ok := m["method"]; ok {
			w.notes = append(w.notes, m)
			continue
		}
		if m["id"] != id {
			w.t.Fatalf("got %v, want the response to %d", m, id)
		}
		return m
	}
}

// call returns the result of a request.
func (w *worker) call(method string, params any) msg {
	w.t.Helper()
	m := w.response(w.send(method, params))
	result, ok := m["result"].(msg)
	if !ok {
		w.t.Fatalf("%s(%v) = %v, want a result", method, params, m)
	}
	return result
}

// fail returns the data of the error that a request must get.
func (w *worker) fail(method string, params any, kind string) msg {
	w.t.Helper()
	m := w.response(w.send(method, params))
	e, _ := m["error"].(msg)
	if e == nil {
		w.t.Fatalf("%s(%v) = %v, want an error", method, params, m)
	}
	return w.wantError(e, kind)
}

// wantError checks an error object and returns its data.
func (w *worker) wantError(e msg, kind string) msg {
	w.t.Helper()
	data, _ := e["data"].(msg)
	if data["kind"] != kind || e["code"] != codes[kind] || e["message"] == "" {
		w.t.Fatalf("got %v, want kind %s and code %d", e, kind, codes[kind])
	}
	if strings.Contains(fmt.Sprint(e), "/models") || strings.Contains(fmt.Sprint(e), "/secret") {
		w.t.Fatalf("%v has a path that the client did not send", e)
	}
	return data
}

// note returns the next notification.
func (w *worker) note() msg {
	w.t.Helper()
	if len(w.notes) > 0 {
		m := w.notes[0]
		w.notes = w.notes[1:]
		return m
	}
	m := w.read()
	if _, ok := m["method"]; !ok {
		w.t.Fatalf("got %v, want a notification", m)
	}
	return m
}

// completion is what a stream told.
type completion struct {
	text     string
	tokens   []any
	logprobs []any
	chunks   int
	stats    msg
	event    msg
}

// stream reads notifications until the end of a stream. Those of other streams are dropped.
func (w *worker) stream(id string) completion {
	w.t.Helper()
	return *w.streams(id)[id]
}

// streams reads notifications until the end of all these streams and checks their order.
func (w *worker) streams(ids ...string) map[string]*completion {
	w.t.Helper()
	all := map[string]*completion{}
	for _, id := range ids {
		all[id] = new(completion)
	}
	for ended := 0; ended < len(ids); {
		m := w.note()
		params := m["params"].(msg)
		if m["method"] == "stream.chunk" {
			for _, row := range params["chunks"].([]any) {
				w.row(all, row.(msg))
			}
			continue
		}
		id, _ := params["stream_id"].(string)
		c := all[id]
		if c == nil {
			continue
		}
		switch m["method"] {
		case "stream.stats":
			if c.stats != nil {
				w.t.Fatalf("second stats %v", params)
			}
			c.stats = params
		case "stream.event":
			if c.stats == nil || c.event != nil {
				w.t.Fatalf("event %v before the stats, or the second one", params)
			}
			if n := c.stats["completion_tokens"]; n != len(c.tokens) {
				w.t.Fatalf("the stats count %v tokens, the chunks %d", n, len(c.tokens))
			}
			c.event = params
			ended++
		}
	}
	return all
}

// row adds a row of stream.chunk to its stream.
func (w *worker) row(all map[string]*completion, row msg) {
	w.t.Helper()
	id, _ := row["stream_id"].(string)
	c := all[id]
	if c == nil {
		return
	}
	if row["index"] != c.chunks || c.stats != nil {
		w.t.Fatalf("chunk %v after %d chunks and stats %v", row, c.chunks, c.stats)
	}
	c.chunks++
	c.text += row["text"].(string)
	c.tokens = append(c.tokens, row["token_ids"].([]any)...)
	if l, ok := row["logprobs"].([]any); ok {
		c.logprobs = append(c.logprobs, l...)
	}
}

// load loads a model under this id.
func (w *worker) load(id string) msg {
	w.t.Helper()
	return w.call("load_model", msg{"model_id": id})
}

// generate starts a stream and returns its id.
func (w *worker) generate(params msg) string {
	w.t.Helper()
	if _, ok := params["model_id"]; !ok {
		params["model_id"] = "m"
	}
	return w.call("generate", params)["stream_id"].(string)
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
