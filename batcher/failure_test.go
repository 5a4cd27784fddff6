package batcher_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

// Each failure ends the request that runs, with a typed error, and the next one succeeds.
func TestFailuresStayWithTheirRequest(t *testing.T) {
	broken := errors.New("secret path")
	bad := func(rows []batcher.Row) bool { return len(rows[0].Sequence.(*batchertest.Sequence).Prompt) == 2 }
	for _, c := range []struct {
		name   string
		set    func(e *batchertest.Engine)
		output func(batcher.Token) bool
		kind   fault.Kind
		text   string
	}{
		{"row", func(e *batchertest.Engine) {
			e.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
				if bad(rows) && rows[0].PromptTokens == 0 {
					return []error{broken}, nil
				}
				return nil, nil
			}
		}, nil, fault.Generation, "failed unexpectedly"},
		{"row of a known kind", func(e *batchertest.Engine) {
			e.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
				if bad(rows) {
					return []error{fault.New(fault.InsufficientMemory, "no memory")}, nil
				}
				return nil, nil
			}
		}, nil, fault.InsufficientMemory, "no memory"},
		{"step", func(e *batchertest.Engine) {
			e.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
				if bad(rows) {
					return nil, broken
				}
				return nil, nil
			}
		}, nil, fault.Generation, "failed unexpectedly"},
		{"dispatch", func(e *batchertest.Engine) {
			e.OnDispatch = func(rows []batcher.Row) error {
				if bad(rows) {
					return broken
				}
				return nil
			}
		}, nil, fault.Generation, "failed unexpectedly"},
		{"panic in a step", func(e *batchertest.Engine) {
			e.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
				if bad(rows) {
					panic("secret 0xc000123")
				}
				return nil, nil
			}
		}, nil, fault.Internal, "the step failed by an internal fault"},
		{"sequence", func(e *batchertest.Engine) {
			e.OnSequence = func(_ string, prompt []int32) error {
				if len(prompt) == 2 {
					return broken
				}
				return nil
			}
		}, nil, fault.Generation, "failed unexpectedly"},
		{"panic in a sequence", func(e *batchertest.Engine) {
			e.OnSequence = func(_ string, prompt []int32) error {
				if len(prompt) == 2 {
					panic("secret")
				}
				return nil
			}
		}, nil, fault.Internal, "preparing the request failed"},
		{"panic in the output", func(*batchertest.Engine) {}, func(batcher.Token) bool { panic("secret") }, fault.Internal, "output failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			inBubble(t, batcher.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, b *bench) {
				c.set(b.engine)
				out := batchertest.NewRecorder(t)
				out.OnToken = c.output
				b.submit(batcher.Request{Prompt: prompt(2), Output: out})
				_, next := b.submit(batcher.Request{})
				f := out.Wait()
				if f.Reason != batcher.FinishError || f.Stats.PromptTokens != 2 {
					t.Errorf("finish %+v", f)
				}
				wantKind(t, f.Err, c.kind)
				if !strings.Contains(f.Err.Error(), c.text) || strings.Contains(f.Err.Error(), "secret") {
					t.Errorf("error %q", f.Err)
				}
				if f := next.Wait(); f.Reason != batcher.FinishLength || !slices.Equal(next.IDs(), b.engine.Completion(prompt(3), 5)) {
					t.Errorf("the next request: %+v", f)
				}
				if b.engine.Open() != 0 {
					t.Errorf("%d open sequences", b.engine.Open())
				}
				if got := b.Stats().Failed; got != 1 {
					t.Errorf("%d failed", got)
				}
			})
			if panics := strings.Contains(c.name, "panic"); panics != strings.Contains(log.String(), "failure_test.go") {
				t.Errorf("log %q", log.String())
			}
			if typed := c.kind == fault.InsufficientMemory; typed == strings.Contains(log.String(), "secret") {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

func TestResultsMustMatchTheRows(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Batcher = batcher.New(short{b.engine}, batcher.Config{})
		// The engine knows the model, this batcher does not: load it under another id.
		b.load("short")
		_, out := b.submit(batcher.Request{ModelID: "short"})
		f := out.Wait()
		wantKind(t, f.Err, fault.Internal)
		if !strings.Contains(f.Err.Error(), "0 results for 1 rows") {
			t.Errorf("error %q", f.Err)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// short loses results.
type short struct{ *batchertest.Engine }

func (e short) Dispatch(c ctx, rows []batcher.Row) (batcher.Step, error) {
	step, err := e.Engine.Dispatch(c, rows)
	return shortStep{step}, err
}

type shortStep struct{ batcher.Step }

func (s shortStep) Wait(c ctx) ([]batcher.StepResult, error) {
	_, err := s.Step.Wait(c)
	return nil, err
}

func TestABadRowFailsAlone(t *testing.T) {
	inBubble(t, batcher.Config{MaxRows: 3}, func(t *testing.T, b *bench) {
		b.engine.OnToken = func(prompt []int32, i int) error {
			if len(prompt) == 2 && i == 2 {
				return errors.New("broken")
			}
			return nil
		}
		var outs []*batchertest.Recorder
		for _, n := range []int{1, 2, 3} {
			_, out := b.submit(batcher.Request{Prompt: prompt(n)})
			outs = append(outs, out)
		}
		for i, want := range []struct {
			reason batcher.FinishReason
			tokens int
		}{{batcher.FinishLength, 5}, {batcher.FinishError, 2}, {batcher.FinishLength, 5}} {
			f := outs[i].Wait()
			if f.Reason != want.reason || !slices.Equal(outs[i].IDs(), b.engine.Completion(prompt(i+1), want.tokens)) {
				t.Errorf("request %d: %+v, tokens %v", i, f, outs[i].IDs())
			}
		}
		if got := b.engine.MaxRows(); got != 3 {
			t.Errorf("%d rows in a step", got)
		}
	})
}
