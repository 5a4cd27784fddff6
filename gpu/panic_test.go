package gpu

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
)

func TestPanicFailsItsJobAndKeepsItsStack(t *testing.T) {
	var log bytes.Buffer
	e, err := New(Config{Device: "cpu", CPUThreads: 1, CacheLimitBytes: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.do(context.Background(), func() error { panic("a bug") })
	if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v, want an internal fault without details", err)
	}
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "TestPanicFailsItsJobAndKeepsItsStack") {
		t.Errorf("the log lacks the panic or its stack: %s", log.String())
	}
	if err := e.do(context.Background(), func() error { return nil }); err != nil {
		t.Errorf("the next job: %v", err)
	}
}
