package batcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mlx-worker/batcher"
	"mlx-worker/batcher/batchertest"
	"mlx-worker/internal/fault"
)

// schedule is a random life of a batcher.
type schedule struct {
	rows, maxQueue, prefillStep int
	requests                    []arrival
	unload, shutdown            time.Duration // of model "b", forced; of all. 0: at the end
	drain                       time.Duration
}

type arrival struct {
	at, cancel, timeout time.Duration // cancel counts from at; 0: never
	model               string
	prompt, max, eosAt  int // eosAt, stopAt: place of the token that ends it; -1: none
	stopAt, failAt      int // failAt: place of the decode that fails; -1: none
	priority            batcher.Priority
}

func durations(high int) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, high).Draw(t, "ms")) * time.Millisecond
	})
}

var schedules = rapid.Custom(func(t *rapid.T) schedule {
	place := rapid.OneOf(rapid.Just(-1), rapid.IntRange(0, 10))
	rare := func(d *rapid.Generator[time.Duration]) *rapid.Generator[time.Duration] {
		return rapid.OneOf(rapid.Just(time.Duration(0)), rapid.Just(time.Duration(0)), d)
	}
	return schedule{
		rows:        rapid.SampledFrom([]int{1, 1, 3}).Draw(t, "rows"),
		maxQueue:    rapid.IntRange(1, 12).Draw(t, "queue"),
		prefillStep: rapid.IntRange(1, 12).Draw(t, "chunk"),
		unload:      rare(durations(400)).Draw(t, "unload"),
		shutdown:    rare(durations(600)).Draw(t, "shutdown"),
		drain:       durations(300).Draw(t, "drain"),
		requests: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) arrival {
			return arrival{
				at:       durations(300).Draw(t, "at"),
				cancel:   rare(durations(300)).Draw(t, "cancel"),
				timeout:  rare(durations(300)).Draw(t, "timeout"),
				model:    rapid.SampledFrom([]string{"a", "b"}).Draw(t, "model"),
				prompt:   rapid.IntRange(1, 40).Draw(t, "prompt"),
				max:      rapid.IntRange(1, 12).Draw(t, "max"),
				eosAt:    place.Draw(t, "eos"),
				stopAt:   place.Draw(t, "stop"),
				failAt:   rapid.OneOf(rapid.Just(-1), rapid.Just(-1), rapid.Just(-1), rapid.IntRange(0, 10)).Draw(t, "fail"),
				priority: rapid.SampledFrom([]batcher.Priority{batcher.PriorityDefault, batcher.PriorityUrgent, batcher.PriorityBackground}).Draw(t, "priority"),
			}
		}), 1, 15).Draw(t, "requests"),
	}
})

// Whatever happens: one Done for each admitted request and nothing after it, tokens that are
// the engine's own, an end that its cause explains, and no sequence left open.
func TestAnySchedule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := schedules.Draw(rt, "schedule")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = s.run(t) })
		if len(problems) > 0 {
			rt.Fatalf("%d problems, the first: %s", len(problems), problems[0])
		}
	})
}

// collector is a testing.TB whose errors are the property's, for rapid to shrink.
type collector struct {
	testing.TB
	mu       sync.Mutex
	problems []string
	cleanups []func()
}

func (c *collector) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}
func (c *collector) Error(args ...any) { c.Errorf("%s", fmt.Sprint(args...)) }
func (c *collector) Cleanup(f func())  { c.cleanups = append(c.cleanups, f) }

// prompt makes the arrival known to the engine: no two share one.
func (a arrival) tokens(i int) []int32 {
	ids := prompt(a.prompt)
	ids[0] = int32(i)
	return ids
}

func (s schedule) run(t *testing.T) []string {
	c := &collector{TB: t}
	engine := batchertest.New(c)
	engine.StepTime, engine.PromptTokenTime = 5*time.Millisecond, time.Millisecond
	// Token i of request r is 100*r + i (places beyond 99 do not occur), so that ends can be placed.
	engine.Next = func(prompt []int32, i int) int32 { return 100*prompt[0] + int32(i) }
	decodes := map[int32]int{} // by the engine's own count, on the scheduler's goroutine
	engine.OnStep = func(_ ctx, rows []batcher.Row) ([]error, error) {
		errs := make([]error, len(rows))
		for i, row := range rows {
			if row.PromptTokens > 0 {
				continue
			}
			r := row.Sequence.(*batchertest.Sequence).Prompt[0]
			if s.requests[r].failAt == decodes[r] {
				errs[i] = errors.New("broken")
			}
			decodes[r]++
		}
		return errs, nil
	}
	b := batcher.NewWithRows(engine, batcher.Config{MaxQueue: s.maxQueue, PrefillStepTokens: s.prefillStep}, s.rows)
	for _, id := range []string{"a", "b"} {
		if _, err := b.Load(t.Context(), batcher.LoadRequest{ModelID: id, Path: "/" + id}, nil); err != nil {
			return []string{err.Error()}
		}
	}

	var group sync.WaitGroup
	for i, a := range s.requests {
		group.Go(func() { a.run(c, b, i, s) })
	}
	if s.unload > 0 {
		group.Go(func() {
			time.Sleep(s.unload)
			_, _ = b.Unload(context.Background(), "b", true) // refused if it comes after the end
		})
	}
	if s.shutdown > 0 {
		group.Go(func() {
			time.Sleep(s.shutdown)
			patience, cancel := context.WithTimeout(context.Background(), s.drain)
			defer cancel()
			_ = b.Shutdown(patience)
		})
	}
	group.Wait()
	if err := b.Shutdown(context.Background()); err != nil {
		c.Errorf("Shutdown: %v", err)
	}
	if got := b.Stats(); got.Active != 0 || got.Queued != 0 || got.Submitted != got.Completed+got.Cancelled+got.TimedOut+got.Failed {
		c.Errorf("stats %+v", got)
	}
	for _, f := range c.cleanups {
		f()
	}
	return c.problems
}

func (a arrival) run(c *collector, b *batcher.Batcher, i int, s schedule) {
	time.Sleep(a.at)
	out := batchertest.NewRecorder(c)
	first := int32(100 * i)
	out.OnToken = func(token batcher.Token) bool { return a.stopAt >= 0 && token.ID == first+int32(a.stopAt) }
	request := batcher.Request{
		ModelID: a.model, Prompt: a.tokens(i), MaxTokens: a.max, Priority: a.priority, Timeout: a.timeout, Output: out,
	}
	if a.eosAt >= 0 {
		request.EOSIDs = []int32{first + int32(a.eosAt)}
	}
	stream, err := b.Submit(context.Background(), request)
	if err != nil {
		kind := fault.KindOf(err)
		expected := kind == fault.QueueFull || kind == fault.ShuttingDown && s.shutdown > 0 ||
			kind == fault.ModelNotLoaded && s.unload > 0 && a.model == "b"
		if !expected {
			c.Errorf("request %d: refused with %v", i, err)
		}
		return
	}
	cancelled := false
	if a.cancel > 0 {
		select {
		case <-out.Ended():
		case <-time.After(a.cancel):
			cancelled = stream.Cancel()
		}
	}
	a.judge(c, i, s, out.Wait(), out.IDs(), cancelled)
	if stream.Cancel() {
		c.Errorf("request %d is active after Done", i)
	}
}

func (a arrival) judge(c *collector, i int, s schedule, f batcher.Finish, got []int32, cancelled bool) {
	// What it yields if nobody interferes.
	n, reason := a.max, batcher.FinishLength
	for place := range a.max {
		if place == a.failAt {
			n, reason = place, batcher.FinishError
			break
		}
		if place == a.eosAt || place == a.stopAt {
			n, reason = place+1, batcher.FinishStop
			break
		}
	}
	want := make([]int32, n)
	for place := range want {
		want[place] = int32(100*i + place)
	}
	if f.Stats.CompletionTokens != len(got) || f.Stats.PromptTokens != a.prompt {
		c.Errorf("request %d: stats %+v with %d tokens", i, f.Stats, len(got))
	}
	if len(got) > n || !slices.Equal(got, want[:len(got)]) {
		c.Errorf("request %d: tokens %v, want the beginning of %v", i, got, want)
	}
	explained := false
	switch f.Reason {
	case batcher.FinishCancelled:
		explained = cancelled && f.Err == nil || s.shutdown > 0 && fault.Is(f.Err, fault.ShuttingDown) ||
			s.unload > 0 && a.model == "b" && fault.Is(f.Err, fault.Cancelled)
	case batcher.FinishTimeout:
		explained = a.timeout > 0 && f.Stats.Total >= a.timeout
	default:
		explained = f.Reason == reason && len(got) == n && (f.Err != nil) == (reason == batcher.FinishError)
	}
	if !explained {
		c.Errorf("request %d (%+v) ended with %+v after %v", i, a, f, got)
	}
}
