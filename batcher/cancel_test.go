package batcher_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

func TestCancelWhileQueued(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, first := b.submit(batcher.Request{})
		second, out := b.submit(batcher.Request{})
		_, third := b.submit(batcher.Request{})
		time.Sleep(stepTime / 2)
		for range 2 {
			if !second.Cancel() {
				t.Error("not active before Done")
			}
		}
		f := out.Wait()
		if f.Reason != batcher.FinishCancelled || f.Err != nil || len(out.IDs()) != 0 {
			t.Errorf("finish %+v, tokens %v", f, out.IDs())
		}
		if f.Stats.Queue != f.Stats.Total || f.Stats.TTFT != 0 || f.Stats.Total > 2*stepTime {
			t.Errorf("stats %+v", f.Stats)
		}
		if second.Cancel() {
			t.Error("active after Done")
		}
		for _, other := range []*batchertest.Recorder{first, third} {
			if f := other.Wait(); f.Reason != batcher.FinishLength || len(other.IDs()) != 5 {
				t.Errorf("another request: %+v", f)
			}
		}
	})
}

func TestCancelInPrefill(t *testing.T) {
	inBubble(t, batcher.Config{PrefillStepTokens: 96}, func(t *testing.T, b *bench) {
		b.engine.PromptTokenTime = stepTime / 96
		s, out := b.submit(batcher.Request{Prompt: prompt(1000)})
		time.Sleep(5 * stepTime) // a chunk takes two
		s.Cancel()
		if f := out.Wait(); f.Reason != batcher.FinishCancelled || f.Stats.CompletionTokens != 0 || f.Stats.Total.Round(stepTime) != 6*stepTime {
			t.Errorf("finish %+v", f)
		}
		if got := len(b.engine.Chunks()); got != 3 {
			t.Errorf("%d chunks", got)
		}
		if b.engine.Open() != 0 {
			t.Error("the sequence is open after Done")
		}
	})
}

func TestCancelInDecode(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		s, out := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 1000})
		time.Sleep(3*stepTime + stepTime/2)
		s.Cancel() // in the fourth step, whose token is dropped
		f := out.Wait()
		if f.Reason != batcher.FinishCancelled || f.Stats.CompletionTokens != 3 || f.Stats.Total.Round(stepTime) != 4*stepTime {
			t.Errorf("finish %+v", f)
		}
		if got := out.IDs(); !slices.Equal(got, b.engine.Completion(prompt(1), 3)) {
			t.Errorf("tokens %v", got)
		}
		if got := b.engine.Steps(); got != 4 {
			t.Errorf("%d steps", got)
		}
	})
}

func TestCancelFromTheOutput(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		out := batchertest.NewRecorder(t)
		submitted := make(chan *batcher.Stream, 1) // Token may come before Submit has returned
		out.OnToken = func(batcher.Token) bool { (<-submitted).Cancel(); return false }
		s, _ := b.submit(batcher.Request{Output: out})
		submitted <- s
		if f := out.Wait(); f.Reason != batcher.FinishCancelled || f.Stats.CompletionTokens != 1 {
			t.Errorf("finish %+v", f)
		}
	})
}

func TestContextOfARequestCancels(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		life, end := context.WithCancel(t.Context())
		out := batchertest.NewRecorder(t)
		if _, err := b.Submit(life, request(batcher.Request{MaxTokens: 1000}, out)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * stepTime)
		end()
		if f := out.Wait(); f.Reason != batcher.FinishCancelled {
			t.Errorf("finish %+v", f)
		}
		_, err := b.Submit(life, request(batcher.Request{}, batchertest.NewRecorder(t)))
		wantKind(t, err, fault.Cancelled)
	})
}

func TestTimeouts(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, running := b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 1000, Timeout: 10 * stepTime})
		_, queued := b.submit(batcher.Request{Timeout: 4 * stepTime})
		_, patient := b.submit(batcher.Request{Timeout: time.Hour})
		f := queued.Wait()
		if f.Reason != batcher.FinishTimeout || f.Err != nil || f.Stats.Total != 4*stepTime || f.Stats.CompletionTokens != 0 {
			t.Errorf("queued: %+v", f)
		}
		f = running.Wait()
		if f.Reason != batcher.FinishTimeout || f.Stats.Total != 10*stepTime || f.Stats.CompletionTokens != 10 {
			t.Errorf("running: %+v", f)
		}
		if f := patient.Wait(); f.Reason != batcher.FinishLength {
			t.Errorf("patient: %+v", f)
		}
		if got := b.Stats().TimedOut; got != 2 {
			t.Errorf("%d timed out", got)
		}
	})
}

func TestTimeoutInPrefill(t *testing.T) {
	inBubble(t, batcher.Config{PrefillStepTokens: 96}, func(t *testing.T, b *bench) {
		b.engine.PromptTokenTime = stepTime / 96
		_, out := b.submit(batcher.Request{Prompt: prompt(1000), Timeout: 3 * stepTime})
		if f := out.Wait(); f.Reason != batcher.FinishTimeout || f.Stats.Total.Round(stepTime) != 4*stepTime {
			t.Errorf("finish %+v", f)
		}
	})
}

// The request whose deadline comes first may be gone when it comes: the later one must not
// be forgotten.
func TestTimeoutAfterAnEarlierOneWasCancelled(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.submit(batcher.Request{MaxTokens: 1000})
		early, _ := b.submit(batcher.Request{Timeout: 2 * stepTime})
		_, later := b.submit(batcher.Request{Timeout: 20 * stepTime})
		early.Cancel()
		if f := later.Wait(); f.Reason != batcher.FinishTimeout || f.Stats.Total > 21*stepTime {
			t.Errorf("finish %+v", f)
		}
		synctest.Wait()
	})
}
