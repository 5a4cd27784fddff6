package rpc

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
)

func TestReady(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		capabilities := w.ready["capabilities"].([]any)
		if !slices.Contains(capabilities, any("generate")) || slices.Contains(capabilities, any("embed")) {
			t.Errorf("capabilities %v", capabilities)
		}
		delete(w.ready, "capabilities")
		equal(t, "worker/ready", w.ready, msg{
			"protocol": 1, "version": "1.2.3", "mlx_version": "0.32.2", "mlx_c_version": "0.7.0", "backend": "cpu",
			"device": msg{"name": "fake", "memory_bytes": 5}, "pid": 42,
		})
	})
}

func TestRuntimeMethods(t *testing.T) {
	serve(t, &fakeEngine{completion: "ab"}, func(w *worker) {
		equal(t, "ping", w.call("ping", nil), msg{})
		equal(t, "ping with params", w.call("ping", msg{}), msg{})

		time.Sleep(250 * time.Millisecond)
		info := w.call("runtime/info", nil)
		equal(t, "memory", info["memory"], msg{"active_bytes": 1, "cache_bytes": 2, "peak_bytes": 3, "rss_bytes": 4})
		equal(t, "uptime_ms", info["uptime_ms"], 250.0)
		equal(t, "version", info["version"], "1.2.3")

		equal(t, "state", w.call("runtime/state", nil), msg{"loaded_models": []any{}, "active_streams": 0, "queued": 0, "restart_count": 0})
		w.load("m")
		w.stream(w.generate(msg{"prompt": "x"}))
		equal(t, "loaded_models", w.call("runtime/state", nil)["loaded_models"], []any{msg{"model_id": "m", "state": "ready", "type": "text"}})

		for _, name := range []string{"runtime/stats", "runtime/telemetry", "get_batcher_metrics"} {
			stats := w.call(name, nil)
			want := []string{
				"batch", "degradations_total", "fast_path_total", "latency_ms", "memory", "prefix_cache", "recoveries_total", "requests", "requests_per_second",
				"speculative", "steps_total", "throughput", "tokens", "tuner", "uptime_ms",
			}
			equal(t, name, slices.Sorted(maps.Keys(stats)), want)
			latency := stats["latency_ms"].(msg)
			equal(t, "latencies", slices.Sorted(maps.Keys(latency)), []string{"inter_token", "queue", "total", "ttft"})
			equal(t, "ttft", latency["ttft"], msg{"p50": 0.0, "p95": 0.0, "p99": 0.0, "count": 1})
			equal(t, "throughput", slices.Sorted(maps.Keys(stats["throughput"].(msg))), []string{"30s", "5s", "60s"})
			equal(t, "tokens", stats["tokens"], msg{"prompt": 1, "completion": 3})
			equal(t, "sizes", stats["batch"].(msg)["sizes"], msg{"1": 3})
		}
	})
}

// Every method of the table is served or refused as the table says, and whatever the params,
// an unknown one is refused by name.
func TestEveryMethod(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		for _, m := range Methods {
			if m.NotOffered != "" {
				equal(t, m.Name, w.fail(m.Name, nil, "Unsupported")["what"], m.Name)
				continue
			}
			equal(t, m.Name, w.fail(m.Name, msg{"nonsense": 1}, "InvalidParams")["param"], "nonsense")
			if data := w.fail(m.Name, []int{1}, "InvalidParams"); data["param"] != "params" {
				t.Errorf("%s: %v", m.Name, data)
			}
		}
		w.fail("no/such/method", nil, "MethodNotFound")
	})
}

func TestMethodTable(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Methods {
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			if names[name] {
				t.Errorf("%s is in the table twice", name)
			}
			names[name] = true
		}
		handlers := 0
		for _, set := range []bool{m.now != nil, m.task != nil, m.begin != nil, m.NotOffered != ""} {
			if set {
				handlers++
			}
		}
		if handlers != 1 {
			t.Errorf("%s has %d handlers", m.Name, handlers)
		}
		params := map[string]bool{}
		for _, p := range m.Params {
			if params[p.Name] || p.Doc == "" || p.Accepts == "" || p.Type == "" || p.decode == nil {
				t.Errorf("%s: parameter %+v is not complete, or there twice", m.Name, p)
			}
			if p.Required && p.Default != nil {
				t.Errorf("%s: parameter %s is required and has a default", m.Name, p.Name)
			}
			params[p.Name] = true
		}
	}
}

func TestErrorTableIsComplete(t *testing.T) {
	for _, kind := range []fault.Kind{
		fault.InvalidParams, fault.ModelLoad, fault.Generation, fault.Tokenizer, fault.Guidance, fault.ModelNotLoaded, fault.QueueFull,
		fault.Cancelled, fault.ShuttingDown, fault.ContextLengthExceeded, fault.InsufficientMemory, fault.Unsupported, fault.Busy,
		fault.Internal, fault.Runtime,
	} {
		e, known := wireError(fault.New(kind, "text").With("key", 7))
		if !known || e.Code != codes[string(kind)] || e.Code == 0 || e.Data["kind"] != string(kind) || e.Data["key"] != 7 || e.Message != "text" {
			t.Errorf("%s becomes %+v", kind, e)
		}
	}
	if e, _ := wireError(fault.New("Unheard", "text")); e.Code != codes["RuntimeError"] {
		t.Errorf("an unknown kind becomes %+v", e)
	}
}

func TestLoadAndUnload(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		want := msg{
			"model_id": "m", "state": "ready", "architecture": "llama", "context_length": fakeContext, "parameter_count": 135, "size_bytes": 1000,
			"dtype": "float32", "quantization": msg{"mode": "affine", "bits": 4, "group_size": 32}, "vocab_size": fakeVocab,
			"chat_template": true, "eos_token_ids": []any{fakeEOS}, "load_ms": 12.5, "cached": false,
		}
		equal(t, "load_model", w.load("m"), want)
		want["cached"] = true
		equal(t, "load_model again", w.load("m"), want)
		equal(t, "loads", int(w.engine.loads.Load()), 1)

		if data := w.fail("load_model", msg{"model_id": "m", "local_path": "/elsewhere"}, "Busy"); data["model_id"] != "m" {
			t.Errorf("data %v", data)
		}
		equal(t, "unload_model", w.call("unload_model", msg{"model_id": "m"}), msg{"success": true, "freed_bytes": 1000})
		equal(t, "text sides closed", int(w.closed.Load()), 1)
		w.fail("unload_model", msg{"model_id": "m"}, "ModelNotLoaded")
		equal(t, "chat_template", w.load("plain")["chat_template"], false)
	})
}

func TestLoadFailures(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.fail("load_model", msg{"model_id": "missing"}, "ModelLoadError")
		w.fail("load_model", msg{"model_id": "corrupt"}, "ModelLoadError")
		w.fail("load_model", msg{"model_id": "odd"}, "ModelLoadError") // its path is not told
		w.fail("load_model", msg{"model_id": "textless"}, "TokenizerError")
		for _, id := range []string{"corrupt", "textless"} {
			w.fail("tokenize", msg{"model_id": id, "text": "x"}, "ModelNotLoaded")
		}
		equal(t, "models left", w.call("runtime/state", nil)["loaded_models"], []any{})
		w.load("m") // it still serves
		for param, value := range map[string]any{"adapter_path": "/a", "draft": true, "trust_remote_code": true} {
			data := w.fail("load_model", msg{"model_id": "n", param: value}, "Unsupported")
			equal(t, "what", data["what"], param)
		}
		w.call("load_model", msg{"model_id": "n", "draft": false, "trust_remote_code": false, "adapter_path": nil, "dtype": "float16"})
	})
}

func TestLoadPanicReachesAllCallers(t *testing.T) {
	serve(t, &fakeEngine{loadPanic: true}, func(w *worker) {
		w.fail("load_model", msg{"model_id": "m"}, "InternalError")
		w.call("ping", nil)
	})
}

func TestConcurrentLoadsAreOne(t *testing.T) {
	engine := &fakeEngine{slow: true}
	serve(t, engine, func(w *worker) {
		first := w.send("load_model", msg{"model_id": "m"})
		second := w.send("load_model", msg{"model_id": "m"})
		synctest.Wait()
		// Nothing else is stuck behind the load.
		equal(t, "ping", w.call("ping", nil), msg{})
		equal(t, "state", w.call("runtime/state", nil)["loaded_models"], []any{msg{"model_id": "m", "state": "loading", "type": "text"}})
		equal(t, "cancel", w.call("cancel", msg{"stream_id": "none"}), msg{"cancelled": false})
		if data := w.fail("generate", msg{"model_id": "m", "prompt": "x"}, "ModelNotLoaded"); data["state"] != "loading" {
			t.Errorf("data %v", data)
		}
		close(engine.loading)
		cached := map[any]int{}
		for range 2 {
			m := w.read()
			if m["id"] != first && m["id"] != second {
				t.Fatalf("got %v", m)
			}
			cached[m["result"].(msg)["cached"]]++
		}
		equal(t, "cached", cached, map[any]int{true: 1, false: 1})
		equal(t, "loads", int(engine.loads.Load()), 1)
	})
}

func TestLoadFailureReachesAllCallers(t *testing.T) {
	engine := &fakeEngine{slow: true}
	serve(t, engine, func(w *worker) {
		w.send("load_model", msg{"model_id": "corrupt"})
		w.send("load_model", msg{"model_id": "corrupt"})
		w.call("ping", nil)
		close(engine.loading)
		for range 2 {
			w.wantError(w.read()["error"].(msg), "ModelLoadError")
		}
	})
}

func TestLoadProgress(t *testing.T) {
	var reports []batcher.LoadProgress
	for i := range 1001 {
		reports = append(reports, batcher.LoadProgress{Phase: "read", LoadedBytes: int64(i), TotalBytes: 1000})
	}
	reports = append(reports, batcher.LoadProgress{Phase: "warmup"}, batcher.LoadProgress{Phase: "warmup"})
	serve(t, &fakeEngine{progress: reports}, func(w *worker) {
		w.load("m")
		// No time passed: the first of each phase and the end of the first one.
		for _, want := range []msg{
			{"model_id": "m", "phase": "read", "loaded_bytes": 0, "total_bytes": 1000},
			{"model_id": "m", "phase": "read", "loaded_bytes": 1000, "total_bytes": 1000},
			{"model_id": "m", "phase": "warmup", "loaded_bytes": 0, "total_bytes": 0},
		} {
			got := w.note()
			equal(t, "method", got["method"], "model.progress")
			equal(t, "progress", got["params"], want)
		}
		equal(t, "notifications left", len(w.notes), 0)
	})
}

func TestTokenMethods(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		equal(t, "tokenize", w.call("tokenize", msg{"model_id": "m", "text": "ab"}), msg{"tokens": []any{fakeBOS, int('a'), int('b')}, "count": 3})
		equal(t, "tokenize with strings", w.call("tokenize", msg{"model_id": "m", "text": "a", "add_special_tokens": false, "strings": true}),
			msg{"tokens": []any{97}, "token_strings": []any{"tok97"}, "count": 1})
		equal(t, "tokenize nothing", w.call("tokenize", msg{"model_id": "m", "text": "", "add_special_tokens": false, "strings": true}),
			msg{"tokens": []any{}, "token_strings": []any{}, "count": 0})
		equal(t, "detokenize", w.call("detokenize", msg{"model_id": "m", "tokens": []int{1, 97, 98}}), msg{"text": "<1>ab"})
		equal(t, "detokenize", w.call("detokenize", msg{"model_id": "m", "tokens": []int{1, 97}, "skip_special_tokens": true}), msg{"text": "a"})
		equal(t, "param", w.fail("detokenize", msg{"model_id": "m", "tokens": []int{fakeVocab}}, "InvalidParams")["param"], "tokens")
		w.fail("tokenize", msg{"model_id": "m", "text": "unencodable"}, "TokenizerError")
		w.fail("tokenize", msg{"model_id": "other", "text": "x"}, "ModelNotLoaded")
		w.fail("detokenize", msg{"model_id": "other", "tokens": []int{}}, "ModelNotLoaded")

		results := w.call("batch_tokenize", msg{"requests": []msg{
			{"model_id": "m", "text": "a"}, {"model_id": "other", "text": "a"}, {"text": "a"}, {"model_id": "m", "text": "b"},
		}})["results"].([]any)
		equal(t, "first", results[0], msg{"success": true, "result": msg{"tokens": []any{1, 97}, "count": 2}})
		w.wantError(results[1].(msg)["error"].(msg), "ModelNotLoaded")
		equal(t, "third", w.wantError(results[2].(msg)["error"].(msg), "InvalidParams")["param"], "model_id")
		equal(t, "fourth", results[3].(msg)["success"], true)
	})
}

func TestApplyChatTemplate(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		messages := []msg{{"role": "user", "content": "hi"}}
		text := w.call("apply_chat_template", msg{"model_id": "m", "messages": messages})
		equal(t, "text", text, msg{"text": `[{"content":"hi","role":"user"}]|||true`})
		text = w.call("apply_chat_template", msg{
			"model_id": "m", "messages": messages, "tools": []msg{{"name": "f"}}, "chat_template_kwargs": msg{"x": 1.5}, "add_generation_prompt": false,
		})
		equal(t, "text", text, msg{"text": `[{"content":"hi","role":"user"}]|[{"name":"f"}]|{"x":1.5}|false`})
		tokens := w.call("apply_chat_template", msg{"model_id": "m", "messages": messages, "tokenize": true})["tokens"].([]any)
		equal(t, "first token, no special one before it", tokens[0], int('['))

		for name, messages := range map[string]any{
			"none":         []msg{},
			"no role":      []msg{{"content": "x"}},
			"role 1":       []msg{{"role": 1, "content": "x"}},
			"content 1":    []msg{{"role": "user", "content": 1}},
			"untyped part": []msg{{"role": "user", "content": []msg{{"text": "x"}}}},
			"not JSON":     []msg{{"role": "user", "content": "x", "extra": []byte{1}}},
			"strings":      []string{"x"},
		} {
			data := w.fail("apply_chat_template", msg{"model_id": "m", "messages": messages}, "InvalidParams")
			equal(t, name, data["param"], "messages")
		}
		image := []msg{{"role": "user", "content": []msg{{"type": "image_url"}}}}
		w.fail("apply_chat_template", msg{"model_id": "m", "messages": image}, "Unsupported")
		w.load("plain")
		equal(t, "what", w.fail("apply_chat_template", msg{"model_id": "plain", "messages": messages}, "Unsupported")["what"], "chat_template")
	})
}

func TestPanicIsAnInternalError(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("panic")
		w.fail("tokenize", msg{"model_id": "panic", "text": "x"}, "InternalError")
		w.fail("generate", msg{"model_id": "panic", "prompt": "x", "stream_id": "s"}, "InternalError")
		w.fail("generate", msg{"model_id": "panic", "prompt": "x", "stream_id": "s"}, "InternalError") // the id is free again
		if log := w.log.String(); !strings.Contains(log, "encode panics") || !strings.Contains(log, "fake_test.go") {
			t.Errorf("the log has no stack: %s", log)
		}
		w.call("ping", nil)
	})
}
