package batcher_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
)

func TestShutdownDrains(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, first := b.submit(batcher.Request{})
		_, second := b.submit(batcher.Request{})
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, out := range []interface{ Ended() <-chan struct{} }{first, second} {
			select {
			case <-out.Ended():
			default:
				t.Error("Shutdown returned before Done")
			}
		}
		if f := second.Wait(); f.Reason != batcher.FinishLength {
			t.Errorf("finish %+v", f)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("the second Shutdown: %v", err)
		}
	})
}

func TestShutdownCancelsWhatIsLeft(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, running := b.submit(batcher.Request{MaxTokens: 4000})
		_, queued := b.submit(batcher.Request{})
		patience, cancel := context.WithTimeout(t.Context(), 10*stepTime)
		defer cancel()
		start := time.Now()
		if err := b.Shutdown(patience); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got := time.Since(start); got > 11*stepTime {
			t.Errorf("Shutdown took %v", got)
		}
		f := running.Wait()
		if f.Reason != batcher.FinishCancelled || f.Stats.CompletionTokens < 8 {
			t.Errorf("running: %+v", f)
		}
		wantKind(t, f.Err, fault.ShuttingDown)
		wantKind(t, queued.Wait().Err, fault.ShuttingDown)
	})
}

// The engine sees the end of Shutdown's patience in the context of its step; what it returns
// then does not make a cancelled request a failed one.
func TestShutdownInterruptsAStep(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.OnStep = func(c ctx, _ []batcher.Row) ([]error, error) {
			<-c.Done()
			return nil, c.Err()
		}
		_, out := b.submit(batcher.Request{})
		patience, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Shutdown(patience); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if f := out.Wait(); f.Reason != batcher.FinishCancelled || !fault.Is(f.Err, fault.ShuttingDown) {
			t.Errorf("finish %+v", f)
		}
	})
}

func TestShutdownCancelsLoads(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		var loads atomic.Int32
		b.engine.OnLoad = slowLoad(&loads, nil)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: "x", Path: "/x"}, nil)
			wantKind(t, err, fault.ShuttingDown)
		})
		synctest.Wait()
		start := time.Now()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("Shutdown took %v", got)
		}
		group.Wait()
	})
}
