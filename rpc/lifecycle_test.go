package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// forever is a completion that no test waits for.
var forever = strings.Repeat("y", fakeContext)

func TestEndOfInputCancelsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{completion: forever, gated: true}
		ended := false
		w := start(t, engine, func(o *Options) { o.InputEnded = func() { ended = true } })
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "running"})
		w.generate(msg{"prompt": "x", "stream_id": "queued"})
		engine.loading = make(chan struct{})
		load := w.send("load_model", msg{"model_id": "other"})
		synctest.Wait()
		began := time.Now()
		_ = w.in.Close()
		// Whoever still reads is told how everything ended.
		events := map[any]msg{}
		for len(events) < 3 {
			m := w.read()
			switch {
			case m["id"] == load:
				w.wantError(m["error"].(msg), "ShuttingDown")
				events[load] = m
			case m["method"] == "stream.event":
				p := m["params"].(msg)
				equal(t, "event", p["event"], "cancelled")
				w.wantError(p["error"].(msg), "ShuttingDown")
				events[p["stream_id"]] = m
			}
		}
		if _, err := io.ReadAll(w.out); err != nil {
			t.Error(err)
		}
		if err := <-w.served; err != nil {
			t.Error("Serve:", err)
		}
		equal(t, "InputEnded was called", ended, true)
		equal(t, "time that it took", time.Since(began), time.Duration(0))
		equal(t, "text sides closed", int(w.closed.Load()), 2)
	})
}

func TestEndOfInputInsideAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{}, nil)
		if _, err := w.in.Write([]byte{0, 0, 0, 9, 1}); err != nil {
			t.Fatal(err)
		}
		w.end()
	})
}

// An engine that hears nothing does not hold up the end.
func TestEndDespiteABusyEngine(t *testing.T) {
	for name, begin := range map[string]func(*worker){
		"step": func(w *worker) { w.generate(msg{"prompt": "x"}) },
		"load": func(w *worker) {
			w.engine.loading = make(chan struct{})
			w.send("load_model", msg{"model_id": "other"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := &fakeEngine{completion: forever, gated: true, deaf: true}
				w := start(t, engine, nil)
				w.load("m")
				begin(w)
				synctest.Wait()
				began := time.Now()
				w.end()
				if took := time.Since(began); took > EndTimeout {
					t.Errorf("Serve took %v", took)
				}
				close(engine.gate) // lets go of what was left behind
				if engine.loading != nil {
					close(engine.loading)
				}
			})
		})
	}
}

// Nor does a client that does not read.
func TestEndDespiteAStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{completion: forever}, nil)
		w.load("m")
		w.generate(msg{"prompt": "x"})
		synctest.Wait()
		began := time.Now()
		_ = w.in.Close()
		if err := <-w.served; err != nil {
			t.Error("Serve:", err)
		}
		if took := time.Since(began); took > EndTimeout {
			t.Errorf("Serve took %v", took)
		}
	})
}

func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{completion: "yes", gated: true}
		w := start(t, engine, nil)
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		first := w.send("shutdown", nil)
		second := w.send("shutdown", msg{"drain_ms": 0})
		for method, params := range map[string]msg{
			"generate":       {"model_id": "m", "prompt": "x"},
			"batch_generate": {"requests": []msg{{"model_id": "m", "prompt": "x"}}},
			"load_model":     {"model_id": "n"},
		} {
			w.fail(method, params, "ShuttingDown")
		}
		w.call("ping", nil)
		w.call("tokenize", msg{"model_id": "m", "text": "x"})
		for range 4 {
			engine.gate <- struct{}{}
		}
		c := w.stream("s")
		equal(t, "text", c.text, "yes")
		equal(t, "event", c.event["event"], "completed")
		for _, id := range []int{first, second} {
			equal(t, "shutdown", w.response(id)["result"], msg{"success": true})
		}
		if _, err := w.out.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the response: %v, want EOF", err)
		}
		if err := <-w.served; err != nil {
			t.Error("Serve:", err)
		}
		_ = w.in.Close()
	})
}

func TestShutdownIsAnsweredDespiteABusyEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{completion: forever, gated: true, deaf: true}
		w := start(t, engine, nil)
		w.load("m")
		w.generate(msg{"prompt": "x"})
		equal(t, "shutdown", w.call("shutdown", msg{"drain_ms": 0}), msg{"success": true})
		w.end()
		close(engine.gate)
	})
}

func TestShutdownCancelsWhatDoesNotFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{completion: forever, gated: true}, nil)
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		began := time.Now()
		id := w.send("shutdown", msg{"drain_ms": 300})
		c := w.stream("s")
		equal(t, "event", c.event["event"], "cancelled")
		w.wantError(c.event["error"].(msg), "ShuttingDown")
		equal(t, "shutdown", w.response(id)["result"], msg{"success": true})
		equal(t, "time that it took", time.Since(began), 300*time.Millisecond)
		w.end()
	})
}

// The end of Serve's context, SIGTERM's, drains for Options.DrainTimeout.
func TestContextDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{completion: "yes", gated: true}
		w := start(t, engine, nil)
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		w.cancel()
		synctest.Wait()
		w.fail("generate", msg{"model_id": "m", "prompt": "x"}, "ShuttingDown")
		close(engine.gate)
		equal(t, "event", w.stream("s").event["event"], "completed")
		w.end()
	})
}

func TestEndOfInputEndsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{completion: forever, gated: true}, nil)
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		w.send("shutdown", nil)
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		w.end()
		equal(t, "time that it took", time.Since(began), time.Duration(0))
	})
}

func TestWriteErrorEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{completion: forever}, nil)
		w.load("m")
		broken := errors.New("broken pipe")
		_ = w.out.CloseWithError(broken)
		w.send("ping", nil)
		if err := <-w.served; !errors.Is(err, broken) {
			t.Errorf("Serve = %v, want the write's error", err)
		}
	})
}

func TestReadErrorEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &fakeEngine{}, nil)
		broken := errors.New("input/output error")
		_ = w.in.CloseWithError(broken)
		if err := <-w.served; !errors.Is(err, broken) {
			t.Errorf("Serve = %v, want the read's error", err)
		}
	})
}

// While the client does not read, the scheduler goes on; afterwards the client gets every
// token, merged into few chunks.
func TestStalledClientDoesNotStallTheScheduler(t *testing.T) {
	serve(t, &fakeEngine{completion: strings.Repeat("y", 40)}, func(w *worker) {
		w.load("m")
		const streams = 100
		go func() { // the responses are not read either
			for i := range streams {
				body := fmt.Appendf(nil, "\x84\xa7jsonrpc\xa32.0\xa2id\xcd%c%c\xa6method\xa8generate\xa6params\x83\xa8model_id\xa1m\xa6prompt\xa1x\xa9stream_id\xa3%03d", 1, i, i)
				_, _ = w.in.Write(frame(bytes.Replace(body, []byte("\xc2\x80"), []byte{0x80}, -1)))
			}
		}()
		synctest.Wait()
		w.engine.mu.Lock()
		sequences := len(w.engine.sequences)
		for _, s := range w.engine.sequences {
			if !s.closed.Load() {
				t.Error("a sequence is not finished")
			}
		}
		w.engine.mu.Unlock()
		equal(t, "sequences", sequences, streams)

		texts, events, rows := map[any]int{}, 0, 0
		for events < streams {
			m := w.read()
			switch m["method"] {
			case "stream.chunk":
				for _, row := range m["params"].(msg)["chunks"].([]any) {
					rows++
					texts[row.(msg)["stream_id"]] += len(row.(msg)["text"].(string))
				}
			case "stream.event":
				events++
				equal(t, "event", m["params"].(msg)["event"], "completed")
			}
		}
		for id, n := range texts {
			equal(t, fmt.Sprint("text of ", id), n, 40)
		}
		if len(texts) != streams || rows > streams*41/2 {
			t.Errorf("%d streams in %d rows; the rows were to be merged", len(texts), rows)
		}
	})
}

func TestManyRequestsAtOnce(t *testing.T) {
	engine := &fakeEngine{slow: true}
	serve(t, engine, func(w *worker) {
		for i := range maxTasks {
			w.send("load_model", msg{"model_id": fmt.Sprint("m", i%2)})
		}
		equal(t, "limit", w.fail("load_model", msg{"model_id": "m"}, "QueueFull")["limit"], maxTasks)
		w.call("ping", nil)
		close(engine.loading)
		for range maxTasks {
			if m := w.read(); m["result"] == nil {
				t.Fatalf("got %v", m)
			}
		}
		equal(t, "loads", int(engine.loads.Load()), 2)
	})
}

func TestConcurrentClientsOfOneWorker(t *testing.T) {
	serve(t, &fakeEngine{completion: "abcdefghij"}, func(w *worker) {
		w.load("m")
		const writers, each = 8, 12
		var mu sync.Mutex
		for i := range writers {
			go func() {
				for j := range each {
					mu.Lock()
					w.send("generate", msg{"model_id": "m", "prompt": "x", "stream_id": fmt.Sprint(i, "/", j)})
					w.send("tokenize", msg{"model_id": "m", "text": fmt.Sprint(i, j)})
					mu.Unlock()
				}
			}()
		}
		started, text, answered, ended := map[any]bool{}, map[any]string{}, 0, 0
		for ended < writers*each || answered < 2*writers*each {
			m := w.read()
			if result, ok := m["result"].(msg); ok {
				answered++
				if id, ok := result["stream_id"]; ok {
					started[id] = true
				}
				continue
			}
			params, _ := m["params"].(msg)
			switch m["method"] {
			case "stream.chunk":
				for _, row := range params["chunks"].([]any) {
					id := row.(msg)["stream_id"]
					if !started[id] {
						t.Fatalf("a chunk of %v came before its response", id)
					}
					text[id] += row.(msg)["text"].(string)
				}
			case "stream.event":
				equal(t, "text", text[params["stream_id"]], "abcdefghij")
				ended++
			}
		}
	})
}
