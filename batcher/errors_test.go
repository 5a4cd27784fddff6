package batcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
)

func TestAsFault(t *testing.T) {
	var log bytes.Buffer
	b := &Batcher{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	known := fault.New(fault.InsufficientMemory, "no memory").With("required_bytes", 5)
	for _, c := range []struct {
		err  error
		kind fault.Kind
		text string
	}{
		{known, fault.InsufficientMemory, "no memory"},
		{fmt.Errorf("layer 3: %w", known), fault.InsufficientMemory, "no memory"},
		{fmt.Errorf("step: %w", context.Canceled), fault.Cancelled, "the step was cancelled"},
		{context.DeadlineExceeded, fault.Cancelled, "the step was cancelled"},
		{errors.New("100% /secret"), fault.Generation, "the step failed unexpectedly; the worker's log tells more"},
	} {
		got := b.asFault("the step", c.err, fault.Generation)
		if got.Kind != c.kind || got.Message != c.text || !errors.Is(got, c.err) {
			t.Errorf("asFault(%v) = %s %q", c.err, got.Kind, got.Message)
		}
		if c.kind == fault.InsufficientMemory && got.Data["required_bytes"] != 5 {
			t.Errorf("asFault(%v) lost its data: %v", c.err, got.Data)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "100% /secret") {
		t.Errorf("log %q", log.String())
	}
}
