package batcher_test

import (
	"context"
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("2000"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil {
		println(err.Error())
		code = 1
	}
	os.Exit(code)
}

const (
	stepTime = 10 * time.Millisecond
	modelID  = "m"
)

// bench is a batcher on a fake engine with one model, in a bubble of fake time.
type bench struct {
	*batcher.Batcher
	t      *testing.T
	engine *batchertest.Engine
}

// inBubble runs f on a bench; a step takes stepTime, and as much for every 100 prompt tokens.
// A config without a row limit gets one of 1.
func inBubble(t *testing.T, cfg batcher.Config, f func(t *testing.T, b *bench)) {
	t.Helper()
	if cfg.MaxRows == 0 {
		cfg.MaxRows = 1
	}
	synctest.Test(t, func(t *testing.T) {
		engine := batchertest.New(t)
		engine.StepTime, engine.PromptTokenTime = stepTime, stepTime/100
		b := &bench{batcher.New(engine, cfg), t, engine}
		t.Cleanup(func() {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = b.Shutdown(ended) // ends what the test left; tests of Shutdown check the error
		})
		b.load(modelID)
		f(t, b)
	})
}

func (b *bench) load(id string) {
	b.t.Helper()
	if _, err := b.Load(b.t.Context(), batcher.LoadRequest{ModelID: id, Path: "/" + id}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// submit admits r with defaults for what it leaves out.
func (b *bench) submit(r batcher.Request) (*batcher.Stream, *batchertest.Recorder) {
	b.t.Helper()
	out, _ := r.Output.(*batchertest.Recorder)
	if out == nil {
		out = batchertest.NewRecorder(b.t)
	}
	s, err := b.Submit(context.Background(), request(r, out))
	if err != nil {
		b.t.Fatal(err)
	}
	return s, out
}

func request(r batcher.Request, out batcher.Output) batcher.Request {
	if r.ModelID == "" {
		r.ModelID = modelID
	}
	if r.Prompt == nil {
		r.Prompt = prompt(3)
	}
	if r.MaxTokens == 0 {
		r.MaxTokens = 5
	}
	r.Output = out
	return r
}

func prompt(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i % 900)
	}
	return ids
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("error %v of kind %s, want kind %s", err, fault.KindOf(err), kind)
	}
}

func wantData(t *testing.T, err error, want fault.Data) {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("error %T %v is no fault", err, err)
	}
	for key, value := range want {
		if f.Data[key] != value {
			t.Errorf("data.%s = %v (%T), want %v", key, f.Data[key], f.Data[key], value)
		}
	}
}
