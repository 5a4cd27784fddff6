package batcher_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

type ctx = context.Context

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		request batcher.Request
		kind    fault.Kind
		data    fault.Data
		text    string
	}{
		{"empty prompt", batcher.Request{Prompt: []int32{}}, fault.InvalidParams, fault.Data{"param": "prompt"}, "empty"},
		{"max_tokens", batcher.Request{MaxTokens: -1}, fault.InvalidParams, fault.Data{"param": "max_tokens"}, "-1"},
		{"priority", batcher.Request{Priority: 3}, fault.InvalidParams, fault.Data{"param": "priority"}, "3"},
		{"negative priority", batcher.Request{Priority: -1}, fault.InvalidParams, fault.Data{"param": "priority"}, "-1"},
		{"timeout", batcher.Request{Timeout: -1}, fault.InvalidParams, fault.Data{"param": "timeout_ms"}, "negative"},
		{"negative token", batcher.Request{Prompt: []int32{1, -2}}, fault.InvalidParams, fault.Data{"param": "prompt_tokens"}, "0 to 999"},
		{"token beyond the vocabulary", batcher.Request{Prompt: []int32{1000}}, fault.InvalidParams, fault.Data{"param": "prompt_tokens"}, "prompt token 0 is 1000"},
		{"unknown model", batcher.Request{ModelID: "x"}, fault.ModelNotLoaded, fault.Data{"model_id": "x"}, `"x"`},
		{"prompt that fills the context", batcher.Request{Prompt: prompt(4096)}, fault.ContextLengthExceeded, fault.Data{"limit": 4096, "prompt_tokens": 4096}, "4096"},
		{"longer prompt", batcher.Request{Prompt: prompt(5000)}, fault.ContextLengthExceeded, fault.Data{"limit": 4096, "prompt_tokens": 5000}, "5000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
				s, err := b.Submit(t.Context(), request(c.request, batchertest.NewRecorder(t)))
				wantKind(t, err, c.kind)
				wantData(t, err, c.data)
				if s != nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("stream %v, error %q", s, err)
				}
				_, out := b.submit(batcher.Request{}) // it goes on serving
				if f := out.Wait(); f.Reason != batcher.FinishLength {
					t.Errorf("finish %+v", f)
				}
			})
		})
	}
}

func TestMissingOutputIsRefused(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, err := b.Submit(t.Context(), request(batcher.Request{}, nil))
		wantKind(t, err, fault.Internal)
	})
}

func TestFullQueue(t *testing.T) {
	inBubble(t, batcher.Config{MaxQueue: 2}, func(t *testing.T, b *bench) {
		// The limit does not depend on whether the loop has taken the first one yet.
		first, out := b.submit(batcher.Request{MaxTokens: 4})
		second, _ := b.submit(batcher.Request{})
		b.submit(batcher.Request{})
		refused := func(retryMs int64) {
			t.Helper()
			_, err := b.Submit(t.Context(), request(batcher.Request{}, batchertest.NewRecorder(t)))
			wantKind(t, err, fault.QueueFull)
			wantData(t, err, fault.Data{"limit": 2, "queued": 2, "retry_after_ms": retryMs})
		}
		refused(1000) // nothing is known yet
		if !second.Cancel() {
			t.Error("a queued request was not active")
		}
		b.submit(batcher.Request{}) // its place is free at once
		refused(1000)
		out.Wait()
		synctest.Wait()
		b.submit(batcher.Request{})
		synctest.Wait()
		// What the first one took: 2 prompt tokens and 5 steps.
		refused(int64((5*stepTime + 2*stepTime/100) / time.Millisecond))
		if first.Cancel() {
			t.Error("a finished request was active")
		}
		if got := b.Stats().Rejected; got != 3 {
			t.Errorf("%d rejected", got)
		}
	})
}

func TestRefusedAfterShutdown(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := b.Submit(t.Context(), request(batcher.Request{}, batchertest.NewRecorder(t)))
		wantKind(t, err, fault.ShuttingDown)
		_, err = b.Load(t.Context(), batcher.LoadRequest{ModelID: "x"}, nil)
		wantKind(t, err, fault.ShuttingDown)
	})
}
