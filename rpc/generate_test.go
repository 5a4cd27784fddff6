package rpc

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

func TestGenerate(t *testing.T) {
	serve(t, &fakeEngine{completion: "hello"}, func(w *worker) {
		w.load("m")
		started := float64(time.Now().UnixMicro()) / 1e6
		result := w.call("generate", msg{"model_id": "m", "prompt": "abc", "stream_id": "mine"})
		equal(t, "result", result, msg{"stream_id": "mine", "started_at": started})
		c := w.stream("mine")
		equal(t, "text", c.text, "hello")
		equal(t, "tokens, with the end of text", fmt.Sprint(c.tokens), "[104 101 108 108 111 0]")
		equal(t, "event", c.event, msg{"stream_id": "mine", "event": "completed", "finish_reason": "stop", "stop_token_id": fakeEOS})
		equal(t, "stats", c.stats, msg{
			"stream_id": "mine", "prompt_tokens": 3, "cached_tokens": 0, "completion_tokens": 6, "queue_ms": 0.0, "prefill_ms": 0.0, "ttft_ms": 0.0,
			"decode_ms": 0.0, "total_ms": 0.0, "tokens_per_second": 0.0, "draft_tokens": 0, "draft_accepted": 0,
		})
		if c.logprobs != nil {
			t.Errorf("logprobs %v were not asked for", c.logprobs)
		}
	})
}

func TestGenerateDefaults(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		w.stream(w.generate(msg{"prompt": "x", "max_tokens": 5}))
		first := w.engine.last().opts.Sampling
		w.stream(w.generate(msg{"prompt": "x", "max_tokens": 5}))
		second := w.engine.last().opts.Sampling
		if first.Seed == second.Seed {
			t.Error("two requests without a seed have the same one")
		}
		first.Seed = 0
		equal(t, "sampling", fmt.Sprintf("%+v", first), "{Temperature:0.7 TopP:1 TopK:0 MinP:0 Seed:0 "+
			"XTCProbability:0 XTCThreshold:0.1 XTCExempt:[] LogitBias:map[] PenaltyTokens:20 RepetitionPenalty:1 PresencePenalty:0 FrequencyPenalty:0}")

		w.stream(w.generate(msg{
			"prompt": "x", "max_tokens": 5,
			// Neutral values of options that are not offered, and nulls, ask for nothing.
			"xtc_probability": nil, "repetition_penalty": nil, "logit_bias": msg{}, "guidance": nil, "draft_model": nil, "num_draft_tokens": 4,
			"cache_prompt": false, "timeout_ms": nil, "tools": nil, "messages": nil,
		}))
		neutral := w.engine.last().opts.Sampling
		neutral.Seed = 0
		equal(t, "sampling", fmt.Sprintf("%+v", neutral), fmt.Sprintf("%+v", first))
	})
}

func TestSamplingParameters(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		sampling := func(params msg) batcher.Sampling {
			params["prompt"], params["max_tokens"] = "x", 1
			w.stream(w.generate(params))
			return w.engine.last().opts.Sampling
		}
		equal(t, "sampling", fmt.Sprintf("%+v", sampling(msg{
			"temperature": 0, "top_p": 0.5, "top_k": 7, "min_p": 0.25, "seed": 9, "xtc_probability": 0.5, "xtc_threshold": 0.2,
			"logit_bias":         msg{"0": -100, strconv.Itoa(fakeVocab - 1): 2.5},
			"repetition_penalty": 1.5, "repetition_context_size": 5, "presence_penalty": -2, "frequency_penalty": 0.75,
		})), "{Temperature:0 TopP:0.5 TopK:7 MinP:0.25 Seed:9 "+
			"XTCProbability:0.5 XTCThreshold:0.2 XTCExempt:[10 0] LogitBias:map[0:-100 299:2.5] PenaltyTokens:5 RepetitionPenalty:1.5 PresencePenalty:-2 FrequencyPenalty:0.75}")
		equal(t, "no context for penalties", sampling(msg{"repetition_context_size": 0}).PenaltyTokens, 0)

		biases := msg{}
		for id := range fakeVocab {
			biases[strconv.Itoa(id)] = 1
		}
		equal(t, "biases", len(sampling(msg{"logit_bias": biases}).LogitBias), fakeVocab)
		for id := range maxBiases + 1 {
			biases[strconv.Itoa(id)] = 1
		}
		data := w.fail("generate", msg{"model_id": "m", "prompt": "x", "logit_bias": biases}, "InvalidParams")
		equal(t, "accepted", data["accepted"], "an object of at most 1024 numbers from -100 to 100 by token id")
	})
}

func TestRefusedLogitBiasNamesTheID(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		for _, c := range []struct {
			bias msg
			want string
		}{
			{msg{strconv.Itoa(fakeVocab): 1}, "id 300 is not in the vocabulary, 0 to 299"},
			{msg{"-1": 1}, `"-1" is not a token id`},
			{msg{"05": 1}, `"05" is not a token id`},
			{msg{"4294967301": 1}, `"4294967301" is not a token id`},
			{msg{"hello": 1}, `"hello" is not a token id`},
			{msg{"5": 100.5}, "100.5 of id 5 is not accepted"},
			{msg{"5": -101}, "-101 of id 5 is not accepted"},
			{msg{"5": math.NaN()}, "NaN of id 5 is not accepted"},
			{msg{"5": math.Inf(-1)}, "-Inf of id 5 is not accepted"},
			{msg{"5": "1"}, `"1" of id 5 is not accepted`},
			{msg{"5": nil}, "nil of id 5 is not accepted"},
		} {
			id := w.send("generate", msg{"model_id": "m", "prompt": "x", "logit_bias": c.bias})
			e := w.response(id)["error"].(msg)
			equal(t, "param", w.wantError(e, "InvalidParams")["param"], "logit_bias")
			if message, _ := e["message"].(string); !strings.Contains(message, c.want) {
				t.Errorf("message %q does not say %q", message, c.want)
			}
		}
	})
}

func TestLogitBiasTakesAnIDOnce(t *testing.T) {
	if biases, err := logitBias(wire.Value("\x82\xa15\x01\xa15\x02"), fakeVocab); err == nil || !strings.Contains(err.Error(), "id 5 is given twice") {
		t.Errorf("biases %v, error %v", biases, err)
	}
}

func TestPrompts(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		w.load("m")
		prompt := func(params msg) string {
			params["max_tokens"] = 1
			w.stream(w.generate(params))
			text, _ := (&fakeText{}).Decode(w.engine.last().prompt, false)
			return text
		}
		equal(t, "prompt", prompt(msg{"prompt": "abc"}), "abc")
		equal(t, "prompt_tokens", prompt(msg{"prompt_tokens": []int{97, 299}}), "a<299>")
		equal(t, "messages", prompt(msg{"messages": []msg{{"role": "user", "content": "hi"}}}), `[{"content":"hi","role":"user"}]|||true`)
	})
}

func TestGenerateRefusals(t *testing.T) {
	serve(t, &fakeEngine{completion: "x"}, func(w *worker) {
		w.load("m")
		w.load("plain")
		long := strings.Repeat("x", fakeContext)
		user := []msg{{"role": "user", "content": "x"}}
		for _, c := range []struct {
			params msg
			kind   string
			key    string
			want   any
		}{
			{msg{"prompt": "x", "model_id": "other"}, "ModelNotLoaded", "model_id", "other"},
			{msg{"prompt": "x", "model_id": nil}, "InvalidParams", "param", "model_id"},
			{msg{}, "InvalidParams", "param", "prompt"},
			{msg{"prompt": ""}, "InvalidParams", "param", "prompt"},
			{msg{"prompt": "x", "prompt_tokens": []int{1}}, "InvalidParams", "param", "prompt"},
			{msg{"prompt": "x", "messages": user}, "InvalidParams", "param", "prompt"},
			{msg{"prompt": "x", "tools": []msg{}}, "InvalidParams", "param", "tools"},
			{msg{"prompt": "x", "chat_template_kwargs": msg{}}, "InvalidParams", "param", "chat_template_kwargs"},
			{msg{"prompt_tokens": []int{}}, "InvalidParams", "param", "prompt_tokens"},
			{msg{"prompt_tokens": []int{fakeVocab}}, "InvalidParams", "param", "prompt_tokens"},
			{msg{"prompt_tokens": []int{-1}}, "InvalidParams", "param", "prompt_tokens"},
			{msg{"messages": []msg{}}, "InvalidParams", "param", "messages"},
			{msg{"messages": user, "model_id": "plain"}, "Unsupported", "what", "chat_template"},
			{msg{"prompt": "unencodable"}, "TokenizerError", "kind", "TokenizerError"},
			{msg{"prompt": long}, "ContextLengthExceeded", "limit", fakeContext},
			{msg{"prompt": long}, "ContextLengthExceeded", "prompt_tokens", fakeContext},
			{msg{"prompt": "x", "max_tokens": fakeContext + 1}, "InvalidParams", "accepted", fmt.Sprintf("an integer from 1 to %d", fakeContext)},
			{msg{"prompt": "x", "max_tokens": 0}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "max_tokens": -1}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "max_tokens": 1.5}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "max_tokens": math.NaN()}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "max_tokens": uint64(math.MaxUint64)}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "max_tokens": "5"}, "InvalidParams", "param", "max_tokens"},
			{msg{"prompt": "x", "temperature": -0.1}, "InvalidParams", "param", "temperature"},
			{msg{"prompt": "x", "temperature": 2.1}, "InvalidParams", "accepted", "a number from 0 to 2"},
			{msg{"prompt": "x", "temperature": math.NaN()}, "InvalidParams", "param", "temperature"},
			{msg{"prompt": "x", "temperature": math.Inf(1)}, "InvalidParams", "param", "temperature"},
			{msg{"prompt": "x", "temperature": "hot"}, "InvalidParams", "param", "temperature"},
			{msg{"prompt": "x", "top_p": 0}, "InvalidParams", "accepted", "a number above 0, up to 1"},
			{msg{"prompt": "x", "top_p": 1.01}, "InvalidParams", "param", "top_p"},
			{msg{"prompt": "x", "top_k": -1}, "InvalidParams", "param", "top_k"},
			{msg{"prompt": "x", "min_p": 1}, "InvalidParams", "accepted", "a number from 0, below 1"},
			{msg{"prompt": "x", "seed": -1}, "InvalidParams", "param", "seed"},
			{msg{"prompt": "x", "seed": 1 << 53}, "InvalidParams", "param", "seed"},
			{msg{"prompt": "x", "stop_sequences": "x"}, "InvalidParams", "param", "stop_sequences"},
			{msg{"prompt": "x", "stop_sequences": []string{""}}, "InvalidParams", "param", "stop_sequences"},
			{msg{"prompt": "x", "stop_sequences": make([]string, 17)}, "InvalidParams", "param", "stop_sequences"},
			{msg{"prompt": "x", "stop_token_ids": []int{fakeVocab}}, "InvalidParams", "param", "stop_token_ids"},
			{msg{"prompt": "x", "stop_token_ids": []string{"a"}}, "InvalidParams", "param", "stop_token_ids"},
			{msg{"prompt": "x", "top_logprobs": 21, "logprobs": true}, "InvalidParams", "param", "top_logprobs"},
			{msg{"prompt": "x", "top_logprobs": 1}, "InvalidParams", "param", "top_logprobs"},
			{msg{"prompt": "x", "priority": "high"}, "InvalidParams", "accepted", `one of "default", "urgent", "background"`},
			{msg{"prompt": "x", "timeout_ms": 0}, "InvalidParams", "param", "timeout_ms"},
			{msg{"prompt": "x", "stream": "yes"}, "InvalidParams", "param", "stream"},
			{msg{"prompt": "x", "stream_id": ""}, "InvalidParams", "param", "stream_id"},
			{msg{"prompt": "x", "maxTokens": 5}, "InvalidParams", "param", "maxTokens"},
			{msg{"prompt": "x", "xtc_probability": 1.1}, "InvalidParams", "param", "xtc_probability"},
			{msg{"prompt": "x", "xtc_threshold": 0.6}, "InvalidParams", "accepted", "a number from 0 to 0.5"},
			{msg{"prompt": "x", "repetition_penalty": 0}, "InvalidParams", "accepted", "a number above 0, up to 10"},
			{msg{"prompt": "x", "repetition_context_size": -1}, "InvalidParams", "param", "repetition_context_size"},
			{msg{"prompt": "x", "presence_penalty": -2.1}, "InvalidParams", "param", "presence_penalty"},
			{msg{"prompt": "x", "frequency_penalty": 5}, "InvalidParams", "param", "frequency_penalty"},
			{msg{"prompt": "x", "logit_bias": []int{5}}, "InvalidParams", "param", "logit_bias"},
			{msg{"prompt": "x", "guidance": msg{"mode": "json"}}, "Unsupported", "what", "guidance"},
			{msg{"prompt": "x", "draft_model": "d"}, "Unsupported", "what", "draft_model"},
		} {
			if _, ok := c.params["model_id"]; !ok {
				c.params["model_id"] = "m"
			}
			data := w.fail("generate", c.params, c.kind)
			equal(t, fmt.Sprint(c.params, " ", c.key), data[c.key], c.want)
		}
		equal(t, "streams left", w.call("runtime/state", nil)["active_streams"], 0)
		equal(t, "text", w.stream(w.generate(msg{"prompt": "x"})).text, "x")
	})
}

func TestDuplicateParam(t *testing.T) {
	serve(t, &fakeEngine{}, func(w *worker) {
		body := []byte("\x84\xa7jsonrpc\xa32.0\xa2id\x07\xa6method\xa6cancel\xa6params\x82\xa9stream_id\xa1a\xa9stream_id\xa1b")
		if _, err := w.in.Write(frame(body)); err != nil {
			t.Fatal(err)
		}
		equal(t, "param", w.wantError(w.response(7)["error"].(msg), "InvalidParams")["param"], "stream_id")
	})
}

func TestContextEndsTheCompletion(t *testing.T) {
	serve(t, &fakeEngine{completion: strings.Repeat("y", 100)}, func(w *worker) {
		w.load("m")
		c := w.stream(w.generate(msg{"prompt": strings.Repeat("x", fakeContext-3), "max_tokens": fakeContext}))
		equal(t, "text", c.text, "yyy")
		equal(t, "event", c.event["finish_reason"], "length")
	})
}

func TestStops(t *testing.T) {
	serve(t, &fakeEngine{completion: "one STOP two"}, func(w *worker) {
		w.load("m")
		for name, c := range map[string]struct {
			params msg
			text   string
			tokens int
			event  msg
		}{
			"sequence": {
				msg{"stop_sequences": []string{"never", "STOP"}},
				"one ", 8, msg{"finish_reason": "stop", "stop_sequence": "STOP"},
			},
			"part of a sequence at the end": {
				msg{"stop_sequences": []string{"two!"}},
				"one STOP two", 13, msg{"finish_reason": "stop", "stop_token_id": fakeEOS},
			},
			"token id": {
				msg{"stop_token_ids": []int{'T'}},
				"one S", 6, msg{"finish_reason": "stop", "stop_token_id": int('T')},
			},
			"max_tokens": {
				msg{"max_tokens": 4},
				"one ", 4, msg{"finish_reason": "length"},
			},
			"max_tokens inside a held-back part": {
				msg{"max_tokens": 6, "stop_sequences": []string{"STOP"}},
				"one ST", 6, msg{"finish_reason": "length"},
			},
			"sequence completed by what was held back": {
				msg{"max_tokens": 4, "stop_sequences": []string{"ne "}},
				"o", 4, msg{"finish_reason": "stop", "stop_sequence": "ne "},
			},
			"ignore_eos": {
				msg{"max_tokens": 14, "ignore_eos": true},
				"one STOP two\x00\x00", 14, msg{"finish_reason": "length"},
			},
			"stop_token_ids beside ignore_eos": {
				msg{"max_tokens": 14, "ignore_eos": true, "stop_token_ids": []int{'w'}},
				"one STOP t", 11, msg{"finish_reason": "stop", "stop_token_id": int('w')},
			},
		} {
			for _, stream := range []bool{true, false} {
				c.params["prompt"], c.params["stream"] = "x", stream
				id := w.generate(c.params)
				got := w.stream(id)
				equal(t, name+": text", got.text, c.text)
				equal(t, name+": tokens", len(got.tokens), c.tokens)
				c.event["stream_id"], c.event["event"] = id, "completed"
				equal(t, name+": event", got.event, c.event)
				if !stream {
					equal(t, name+": chunks", got.chunks, 1)
				}
			}
		}
	})
}

// Chunks come as the steps do, whole UTF-8 only.
func TestAChunkAStep(t *testing.T) {
	engine := &fakeEngine{completion: "aü€", gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		for i, want := range []string{"a", "", "ü", "", "", "€", ""} {
			engine.gate <- struct{}{}
			chunks := w.note()["params"].(msg)["chunks"].([]any)
			row := chunks[0].(msg)
			equal(t, "text", row["text"], want)
			equal(t, "index", row["index"], i)
			equal(t, "tokens", len(row["token_ids"].([]any)), 1)
		}
		equal(t, "then", w.note()["method"], "stream.stats")
		equal(t, "then", w.note()["method"], "stream.event")
	})
}

func TestLogprobs(t *testing.T) {
	serve(t, &fakeEngine{completion: "ab"}, func(w *worker) {
		w.load("m")
		c := w.stream(w.generate(msg{"prompt": "x", "logprobs": true}))
		equal(t, "logprobs", c.logprobs, []any{
			msg{"token_id": 97, "logprob": 0.0}, msg{"token_id": 98, "logprob": -1.0}, msg{"token_id": fakeEOS, "logprob": -2.0},
		})
		c = w.stream(w.generate(msg{"prompt": "x", "logprobs": true, "top_logprobs": 2, "max_tokens": 1}))
		equal(t, "top logprobs", c.logprobs, []any{
			msg{"token_id": 97, "logprob": 0.0, "top": []any{
				msg{"token_id": 65, "text": "A", "logprob": 0.0}, msg{"token_id": 66, "text": "B", "logprob": -1.0},
			}},
		})
	})
}

func TestCancel(t *testing.T) {
	engine := &fakeEngine{completion: strings.Repeat("y", 50), gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		cancel := func(id string) any { return w.call("cancel", msg{"stream_id": id})["cancelled"] }
		equal(t, "unknown stream", cancel("s"), false)
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		w.generate(msg{"prompt": "x", "stream_id": "queued"})
		equal(t, "param", w.fail("generate", msg{"model_id": "m", "prompt": "x", "stream_id": "s"}, "InvalidParams")["param"], "stream_id")

		engine.gate <- struct{}{}
		equal(t, "queued stream", cancel("queued"), true)
		equal(t, "running stream", cancel("s"), true)
		close(engine.gate)
		c := w.stream("s")
		equal(t, "event", c.event, msg{"stream_id": "s", "event": "cancelled", "finish_reason": "cancelled"})
		if len(c.tokens) > 2 {
			t.Errorf("%d tokens; cancel takes effect before the next step", len(c.tokens))
		}
		equal(t, "ended stream", cancel("s"), false)
		w.generate(msg{"prompt": "x", "stream_id": "s", "max_tokens": 1}) // its id is free
		equal(t, "new stream", w.stream("s").event["event"], "completed")
	})
}

func TestQueuedStreamGetsItsEventWhenCancelled(t *testing.T) {
	engine := &fakeEngine{completion: "y", gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "running"})
		w.generate(msg{"prompt": "x", "stream_id": "queued"})
		w.call("cancel", msg{"stream_id": "queued"})
		engine.gate <- struct{}{}
		c := w.stream("queued")
		equal(t, "tokens", len(c.tokens), 0)
		equal(t, "event", c.event["finish_reason"], "cancelled")
		close(engine.gate)
	})
}

// A cancel that follows its generate at once finds the stream, whatever generate is at.
func TestCancelRightAfterGenerate(t *testing.T) {
	engine := &fakeEngine{completion: strings.Repeat("y", 50), gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		for i := range 20 {
			id := fmt.Sprint("s", i)
			generate := w.send("generate", msg{"model_id": "m", "prompt": "x", "stream_id": id})
			cancel := w.send("cancel", msg{"stream_id": id})
			responses := map[any]msg{}
			for len(responses) < 2 {
				m := w.read()
				if m["method"] != nil {
					w.notes = append(w.notes, m)
				} else {
					responses[m["id"]] = m
				}
			}
			equal(t, "cancelled", responses[cancel]["result"].(msg)["cancelled"], true)
			if e, ok := responses[generate]["error"].(msg); ok {
				w.wantError(e, "Cancelled") // it had not started
				continue
			}
			synctest.Wait()
			select {
			case engine.gate <- struct{}{}: // it had, and a step is under way
			default:
			}
			equal(t, "event", w.stream(id).event["event"], "cancelled")
		}
	})
}

func TestTimeout(t *testing.T) {
	engine := &fakeEngine{completion: strings.Repeat("y", 50), gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s", "timeout_ms": 100})
		engine.gate <- struct{}{}
		time.Sleep(150 * time.Millisecond)
		engine.gate <- struct{}{}
		c := w.stream("s")
		equal(t, "event", c.event, msg{"stream_id": "s", "event": "cancelled", "finish_reason": "timeout"})
		equal(t, "total_ms", c.stats["total_ms"], 150.0)
	})
}

func TestFailedStep(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind string
	}{
		{fault.New(fault.Generation, "the step failed").With("cause", "shapes"), "GenerationError"},
		{errors.New("read /models/secret: bad address 0xc000"), ""},
	} {
		serve(t, &fakeEngine{stepErr: c.err}, func(w *worker) {
			w.load("m")
			e := w.stream(w.generate(msg{"prompt": "x"})).event
			equal(t, "event", e["event"], "error")
			equal(t, "finish_reason", e["finish_reason"], "error")
			if c.kind != "" {
				equal(t, "cause", w.wantError(e["error"].(msg), c.kind)["cause"], "shapes")
			}
			w.call("ping", nil)
		})
	}
}

func TestDetokenizerThatFails(t *testing.T) {
	serve(t, &fakeEngine{completion: "ab!cd"}, func(w *worker) {
		w.load("m")
		c := w.stream(w.generate(msg{"prompt": "x"}))
		equal(t, "text", c.text, "ab")
		equal(t, "tokens", len(c.tokens), 3)
		equal(t, "event", c.event["event"], "error")
		w.wantError(c.event["error"].(msg), "TokenizerError")
	})
}

func TestTokensPerSecond(t *testing.T) {
	engine := &fakeEngine{completion: "abc", gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		for range 4 {
			time.Sleep(10 * time.Millisecond)
			engine.gate <- struct{}{}
		}
		c := w.stream("s")
		equal(t, "ttft_ms", c.stats["ttft_ms"], 10.0)
		equal(t, "decode_ms", c.stats["decode_ms"], 30.0)
		equal(t, "tokens_per_second", c.stats["tokens_per_second"], 100.0)
	})
}

func TestBatchGenerate(t *testing.T) {
	serve(t, &fakeEngine{completion: "yes"}, func(w *worker) {
		w.load("m")
		results := w.call("batch_generate", msg{"requests": []msg{
			{"model_id": "m", "prompt": "x", "stream_id": "a"},
			{"model_id": "m", "prompt": "x", "stream_id": "a"},
			{"model_id": "m", "prompt": "x", "stream_id": "b", "nonsense": 1},
			{"model_id": "other", "prompt": "x", "stream_id": "c"},
			{"model_id": "m", "prompt": "x", "stream_id": "d"},
		}})["results"].([]any)
		equal(t, "results", len(results), 5)
		equal(t, "a", results[0].(msg)["result"].(msg)["stream_id"], "a")
		equal(t, "duplicate", w.wantError(results[1].(msg)["error"].(msg), "InvalidParams")["param"], "stream_id")
		equal(t, "unknown param", w.wantError(results[2].(msg)["error"].(msg), "InvalidParams")["param"], "nonsense")
		w.wantError(results[3].(msg)["error"].(msg), "ModelNotLoaded")
		equal(t, "d", results[4].(msg)["success"], true)
		equal(t, "notifications before the response", len(w.notes), 0)
		for id, c := range w.streams("a", "d") {
			equal(t, "text of "+id, c.text, "yes")
		}
		w.fail("batch_generate", msg{"requests": []msg{}}, "InvalidParams")
	})
}

func TestGenerateNotification(t *testing.T) {
	serve(t, &fakeEngine{completion: "yes"}, func(w *worker) {
		w.load("m")
		w.write(msg{"jsonrpc": "2.0", "method": "generate", "params": msg{"model_id": "m", "prompt": "x", "stream_id": "s"}})
		w.write(msg{"jsonrpc": "2.0", "method": "generate", "params": msg{"model_id": "m"}}) // its error goes nowhere
		w.write(msg{"jsonrpc": "2.0", "method": "no/such"})
		equal(t, "text", w.stream("s").text, "yes")
		w.call("ping", nil)
	})
}

func TestUnloadWithStreams(t *testing.T) {
	engine := &fakeEngine{completion: strings.Repeat("y", 50), gated: true}
	serve(t, engine, func(w *worker) {
		w.load("m")
		w.generate(msg{"prompt": "x", "stream_id": "s"})
		w.fail("unload_model", msg{"model_id": "m"}, "Busy")
		equal(t, "the model stays", len(w.call("tokenize", msg{"model_id": "m", "text": "x"})), 2)
		id := w.send("unload_model", msg{"model_id": "m", "force": true})
		synctest.Wait()
		close(engine.gate)
		equal(t, "unload_model", w.response(id)["result"].(msg)["success"], true)
		e := w.stream("s").event
		equal(t, "event", e["event"], "cancelled")
		w.fail("generate", msg{"model_id": "m", "prompt": "x"}, "ModelNotLoaded")
		synctest.Wait()
		equal(t, "text sides closed", int(w.closed.Load()), 1)
	})
}
