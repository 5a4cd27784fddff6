package mlx_test

import (
	"context"
	"errors"
	"testing"

	"mlx-worker/gpu/mlx"
)

func TestThreadCancelsWhileQueued(t *testing.T) {
	th := mlx.NewThread()
	defer th.Close()
	running, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- th.Do(context.Background(), func() error {
			close(running)
			<-release
			return nil
		})
	}()
	<-running
	ctx, cancel := context.WithCancelCause(context.Background())
	second := make(chan error, 1)
	ran := false
	go func() { second <- th.Do(ctx, func() error { ran = true; return nil }) }()
	reason := errors.New("reason")
	cancel(reason)
	if err := <-second; !errors.Is(err, reason) {
		t.Errorf("got %v, want the cancel cause", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if ran {
		t.Error("a cancelled job ran")
	}
}

func TestThreadSurvivesPanic(t *testing.T) {
	th := mlx.NewThread()
	defer th.Close()
	err := th.Do(context.Background(), func() error { panic("boom") })
	var p *mlx.PanicError
	if !errors.As(err, &p) || p.Value != "boom" || len(p.Stack) == 0 {
		t.Fatalf("got %v, want a PanicError", err)
	}
	if err := th.Do(context.Background(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestThreadRefusesAfterClose(t *testing.T) {
	th := mlx.NewThread()
	th.Close()
	th.Close()
	if err := th.Do(context.Background(), func() error { return nil }); !errors.Is(err, mlx.ErrThreadClosed) {
		t.Fatalf("got %v, want ErrThreadClosed", err)
	}
}
