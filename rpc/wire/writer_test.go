package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/sourcegraph/jsonrpc2"
)

// stalled is a connection whose peer reads nothing; what waits, waits durably.
func stalled(t *testing.T) (*Conn, *io.PipeReader, *io.PipeWriter) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := NewConn(Config{In: inR, Out: outW, Handle: func(Request) {}, Logger: slog.New(slog.DiscardHandler)})
	c.Start()
	return c, outR, inW
}

func TestStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, out, _ := stalled(t)
		ctx, cancel := context.WithCancel(t.Context())
		big := pack(t, make([]byte, queueLimit/4))
		var sent int
		done := make(chan error)
		go func() {
			for {
				if err := c.Notify(ctx, "n", big); err != nil {
					done <- err
					return
				}
				sent++
			}
		}()
		synctest.Wait() // the sender waits for room
		if sent == 0 || sent > 4 {
			t.Errorf("%d notifications of a quarter of the limit were queued", sent)
		}
		if ok, err := c.TryNotify("progress", big); ok || err != nil {
			t.Errorf("TryNotify = %v, %v, want false without an error", ok, err)
		}
		// Answers from the reader's goroutine do not wait.
		if err := c.Post(jsonrpc2.ID{Num: 1}, pack(t, 1)); err != nil {
			t.Error("Post:", err)
		}
		if err := c.PostError(jsonrpc2.ID{Num: 2}, &Error{Code: -32603, Message: "x"}); err != nil {
			t.Error("PostError:", err)
		}
		// A waiting sender can be called off, and one that waits behind it.
		behind := make(chan error)
		go func() { behind <- c.Notify(ctx, "n", big) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the sender got %v", err)
		}
		if err := <-behind; !errors.Is(err, context.Canceled) {
			t.Errorf("the sender behind got %v", err)
		}
		// When the peer reads again everything that was accepted arrives.
		go func() { done <- c.Close(t.Context()) }()
		for i := range sent + 2 {
			if _, err := readFrame(out); err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
		}
		if err := <-done; err != nil {
			t.Error("Close:", err)
		}
	})
}

func TestRoomIsGivenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, out, _ := stalled(t)
		ctx := t.Context()
		// Fills the queue; the sender of more than a queue is next, a small one is last.
		if err := c.Notify(ctx, "first", pack(t, make([]byte, queueLimit-envelopeSize))); err != nil {
			t.Fatal(err)
		}
		for _, next := range []struct {
			method string
			size   int
		}{{"second", 2 * queueLimit}, {"third", 1}} {
			go func() { _ = c.Notify(ctx, next.method, pack(t, make([]byte, next.size))) }()
			synctest.Wait()
		}
		for _, want := range []string{"first", "second", "third"} {
			body, err := readFrame(out)
			if err != nil {
				t.Fatal(err)
			}
			if got := unpack(t, body)["method"]; got != want {
				t.Errorf("got %v, want %s", got, want)
			}
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestPeerThatOnlySendsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, in := stalled(t)
		go func() {
			for {
				if _, err := in.Write(frame([]byte{0xc1})); err != nil {
					return
				}
			}
		}()
		<-c.Failed()
		if err := c.Err(); !errors.Is(err, errPeerStalled) {
			t.Errorf("Err = %v", err)
		}
		if err := c.Notify(t.Context(), "n", pack(t, 1)); !errors.Is(err, errPeerStalled) {
			t.Errorf("Notify = %v", err)
		}
		if err := c.Close(t.Context()); !errors.Is(err, errPeerStalled) {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestWriteErrorFailsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, out, _ := stalled(t)
		broken := errors.New("broken pipe")
		_ = out.CloseWithError(broken)
		if err := c.Notify(t.Context(), "n", pack(t, 1)); err != nil {
			t.Fatal(err) // it was queued
		}
		<-c.Failed()
		if err := c.Err(); !errors.Is(err, broken) {
			t.Errorf("Err = %v", err)
		}
		if err := c.Reply(t.Context(), jsonrpc2.ID{}, pack(t, 1)); !errors.Is(err, broken) {
			t.Errorf("Reply = %v", err)
		}
		if err := c.Close(t.Context()); !errors.Is(err, broken) {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestCloseGivesUpOnAStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := stalled(t)
		if err := c.Notify(t.Context(), "n", pack(t, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Close(ctx) }()
		synctest.Wait() // Close waits for the write
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Close = %v", err)
		}
	})
}
