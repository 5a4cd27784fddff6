package batcher_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

// slowLoad makes loads take a second, unless their context ends.
func slowLoad(count *atomic.Int32, fail error) func(ctx, batcher.LoadRequest, func(batcher.LoadProgress)) error {
	return func(c ctx, req batcher.LoadRequest, progress func(batcher.LoadProgress)) error {
		count.Add(1)
		for i := range 4 {
			progress(batcher.LoadProgress{Phase: "read", LoadedBytes: int64(i), TotalBytes: 4})
			select {
			case <-time.After(time.Second / 4):
			case <-c.Done():
				return c.Err()
			}
		}
		return fail
	}
}

func TestConcurrentLoadsAreOne(t *testing.T) {
	for _, fail := range []error{nil, errors.New("corrupt weights")} {
		inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
			var loads atomic.Int32
			b.engine.OnLoad = slowLoad(&loads, fail)
			var group sync.WaitGroup
			var heard [5]atomic.Int32
			for i := range heard {
				group.Go(func() {
					got, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: "x", Path: "/x"}, func(batcher.LoadProgress) { heard[i].Add(1) })
					if fail != nil {
						wantKind(t, err, fault.ModelLoad)
						return
					}
					if err != nil || got.ModelID != "x" || got.Cached || got.ContextLength != 4096 {
						t.Errorf("Load: %+v, %v", got, err)
					}
				})
			}
			synctest.Wait()
			if states := b.Models(); len(states) != 2 || states[1].ModelID != "x" || states[1].Phase != batcher.ModelLoading {
				t.Errorf("models %+v", states)
			}
			if _, ready := b.Model("x"); ready {
				t.Error("ready while loading")
			}
			group.Wait()
			if loads.Load() != 1 {
				t.Errorf("%d loads", loads.Load())
			}
			for i := range heard {
				if heard[i].Load() < 3 {
					t.Errorf("caller %d heard of %d phases", i, heard[i].Load())
				}
			}
			info, ready := b.Model("x")
			if ready != (fail == nil) || ready && info.ModelID != "x" {
				t.Errorf("Model: %+v, %v", info, ready)
			}
			if fail != nil {
				b.engine.OnLoad = nil
				b.load("x") // a failure does not stick
			}
		})
	}
}

func TestLoadOfALoadedModel(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		load := func(req batcher.LoadRequest) (batcher.LoadResult, error) {
			req.ModelID = modelID
			return b.Load(t.Context(), req, nil)
		}
		for _, req := range []batcher.LoadRequest{{Path: "/m"}, {Path: "/m", ContextLength: 4096, DType: "float32"}} {
			if got, err := load(req); err != nil || !got.Cached || got.ModelID != modelID {
				t.Errorf("%+v: %+v, %v", req, got, err)
			}
		}
		for param, req := range map[string]batcher.LoadRequest{
			"local_path":     {Path: "/other"},
			"context_length": {Path: "/m", ContextLength: 100},
			"dtype":          {Path: "/m", DType: "float16"},
			"quantization":   {Path: "/m", Quantization: batcher.Quantization{Bits: 8}},
		} {
			_, err := load(req)
			wantKind(t, err, fault.InvalidParams)
			wantData(t, err, fault.Data{"param": param})
		}
	})
}

func TestAnotherPathWhileLoading(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		var loads atomic.Int32
		b.engine.OnLoad = slowLoad(&loads, nil)
		var group sync.WaitGroup
		group.Go(func() { b.load("x") })
		synctest.Wait()
		_, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: "x", Path: "/y"}, nil)
		wantKind(t, err, fault.InvalidParams)
		_, err = b.Unload(t.Context(), "x", true)
		wantKind(t, err, fault.Busy)
		wantData(t, err, fault.Data{"state": "loading"})
		_, err = b.Submit(t.Context(), request(batcher.Request{ModelID: "x"}, discard{}))
		wantKind(t, err, fault.ModelNotLoaded)
		wantData(t, err, fault.Data{"state": "loading"})
		group.Wait()
	})
}

type discard struct{}

func (discard) Token(batcher.Token) bool { return false }
func (discard) Done(batcher.Finish)      {}

func TestLoadIsCancelledByItsLastCaller(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		var loads atomic.Int32
		b.engine.OnLoad = slowLoad(&loads, nil)
		var group sync.WaitGroup
		call := func(life time.Duration, wantErr bool) {
			group.Go(func() {
				c, cancel := context.WithTimeout(t.Context(), life)
				defer cancel()
				start := time.Now()
				_, err := b.Load(c, batcher.LoadRequest{ModelID: "x", Path: "/x"}, nil)
				if wantErr {
					wantKind(t, err, fault.Cancelled)
					if got := time.Since(start); got != life {
						t.Errorf("a call of %v returned after %v", life, got)
					}
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		// One leaves, the other one still gets its model.
		call(time.Second/10, true)
		call(time.Minute, false)
		group.Wait()
		if _, err := b.Unload(t.Context(), "x", false); err != nil {
			t.Fatal(err)
		}
		// Both leave: the load ends, and who comes then gets a load of its own.
		call(time.Second/10, true)
		call(time.Second/5, true)
		group.Wait()
		call(time.Minute, false)
		group.Wait()
		if loads.Load() != 3 {
			t.Errorf("%d loads", loads.Load())
		}
	})
}

// An engine that does not notice the cancellation has loaded a model that nobody knows of.
func TestLoadCancelledTooLate(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.OnLoad = func(ctx, batcher.LoadRequest, func(batcher.LoadProgress)) error {
			time.Sleep(time.Second)
			return nil
		}
		c, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := b.Load(c, batcher.LoadRequest{ModelID: "x", Path: "/x"}, nil)
		wantKind(t, err, fault.Cancelled)
		// While that one winds up, another caller waits and then loads anew; the engine fails
		// the test if the id is loaded twice.
		b.load("x")
		if got := len(b.Models()); got != 2 {
			t.Errorf("%d models", got)
		}
	})
}

func TestLoadPanics(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.OnLoad = func(ctx, batcher.LoadRequest, func(batcher.LoadProgress)) error { panic("secret") }
		_, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: "x"}, nil)
		wantKind(t, err, fault.Internal)
		if len(b.Models()) != 1 {
			t.Errorf("models %+v", b.Models())
		}
	})
}

func TestTokensFlowWhileAnotherModelLoads(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		var loads atomic.Int32
		b.engine.OnLoad = slowLoad(&loads, nil)
		var group sync.WaitGroup
		group.Go(func() { b.load("x") })
		_, out := b.submit(batcher.Request{})
		if f := out.Wait(); f.Stats.Total > time.Second/2 {
			t.Errorf("a request took %v", f.Stats.Total)
		}
		group.Wait()
	})
}

func TestUnload(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, running := b.submit(batcher.Request{MaxTokens: 1000})
		_, queued := b.submit(batcher.Request{})
		_, err := b.Unload(t.Context(), modelID, false)
		wantKind(t, err, fault.Busy)
		wantData(t, err, fault.Data{"streams": 2})

		time.Sleep(5*stepTime + stepTime/2)
		if states := b.Models(); states[0].Streams != 2 {
			t.Errorf("models %+v", states)
		}
		freed, err := b.Unload(t.Context(), modelID, true)
		if err != nil || freed != 1<<20 {
			t.Errorf("Unload: %d, %v", freed, err)
		}
		f := running.Wait()
		if f.Reason != batcher.FinishCancelled || f.Stats.CompletionTokens < 4 {
			t.Errorf("running: %+v", f)
		}
		wantKind(t, f.Err, fault.Cancelled)
		if f := queued.Wait(); f.Reason != batcher.FinishCancelled {
			t.Errorf("queued: %+v", f)
		}

		_, err = b.Unload(t.Context(), modelID, true)
		wantKind(t, err, fault.ModelNotLoaded)
		_, err = b.Submit(t.Context(), request(batcher.Request{}, discard{}))
		wantKind(t, err, fault.ModelNotLoaded)
		b.load(modelID)
		_, out := b.submit(batcher.Request{})
		out.Wait()
	})
}

// lingering takes its time to hear of its end.
type lingering struct{ *batchertest.Recorder }

func (l lingering) Done(f batcher.Finish) {
	time.Sleep(time.Second)
	l.Recorder.Done(f)
}

// The end of one request must not be taken for the end of all: the engine fails the test if
// the model is unloaded while a sequence is open.
func TestUnloadWaitsForEveryRequest(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.submit(batcher.Request{MaxTokens: 1000})
		if _, err := b.Submit(context.Background(), request(batcher.Request{}, lingering{batchertest.NewRecorder(t)})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stepTime / 2)
		if _, err := b.Unload(t.Context(), modelID, true); err != nil {
			t.Error(err)
		}
	})
}

// Who hears of the end of the last request may unload at once.
func TestUnloadRightAfterDone(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		_, out := b.submit(batcher.Request{})
		out.Wait()
		if _, err := b.Unload(t.Context(), modelID, false); err != nil {
			t.Error(err)
		}
	})
}

func TestUnloadOfOneModelLeavesTheOther(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.load("other")
		_, first := b.submit(batcher.Request{MaxTokens: 1000})
		_, second := b.submit(batcher.Request{ModelID: "other"})
		if _, err := b.Unload(t.Context(), modelID, true); err != nil {
			t.Fatal(err)
		}
		first.Wait()
		if f := second.Wait(); f.Reason != batcher.FinishLength || !slices.Equal(second.IDs(), b.engine.Completion(prompt(3), 5)) {
			t.Errorf("the other model's request: %+v", f)
		}
	})
}

func TestUnloadInProgress(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.OnUnload = func(ctx, string) error { time.Sleep(time.Second); return nil }
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := b.Unload(t.Context(), modelID, false); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if states := b.Models(); states[0].Phase != batcher.ModelUnloading {
			t.Errorf("models %+v", states)
		}
		_, err := b.Unload(t.Context(), modelID, true)
		wantKind(t, err, fault.Busy)
		_, err = b.Submit(t.Context(), request(batcher.Request{}, discard{}))
		wantKind(t, err, fault.ModelNotLoaded)
		c, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err = b.Load(c, batcher.LoadRequest{ModelID: modelID, Path: "/m"}, nil)
		wantKind(t, err, fault.Cancelled)
		got, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: modelID, Path: "/elsewhere"}, nil)
		if err != nil || got.Cached {
			t.Errorf("Load after the unload: %+v, %v", got, err)
		}
		group.Wait()
	})
}

func TestFailedUnloadKeepsTheModel(t *testing.T) {
	inBubble(t, batcher.Config{}, func(t *testing.T, b *bench) {
		b.engine.OnUnload = func(ctx, string) error { return errors.New("stuck") }
		_, err := b.Unload(t.Context(), modelID, false)
		wantKind(t, err, fault.Runtime)
		_, out := b.submit(batcher.Request{})
		if f := out.Wait(); f.Reason != batcher.FinishLength {
			t.Errorf("finish %+v", f)
		}
		// A caller who does not wait for the cancelled requests leaves the model, too.
		b.submit(batcher.Request{Prompt: prompt(1), MaxTokens: 1000})
		time.Sleep(stepTime / 2)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = b.Unload(ended, modelID, true)
		wantKind(t, err, fault.Cancelled)
		if _, ready := b.Model(modelID); !ready {
			t.Error("the model is not ready")
		}
		b.engine.OnUnload = nil
		time.Sleep(stepTime)
		synctest.Wait()
		if _, err := b.Unload(t.Context(), modelID, false); err != nil {
			t.Error(err)
		}
	})
}
