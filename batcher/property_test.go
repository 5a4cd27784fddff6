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
	config           batcher.Config
	ahead            int
	memory           int64 // bytes, of which each token takes one; 0: no limit
	requests         []arrival
	failStep         int           // number of the step that fails; -1: none
	failDispatch     bool          // it fails when it is dispatched
	unload, shutdown time.Duration // of model "b", forced; of all. 0: at the end
	drain            time.Duration
}

type arrival struct {
	at, cancel, timeout time.Duration // cancel counts from at; 0: never
	announced           time.Duration // before at
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

func rarely[T any](never T, g *rapid.Generator[T]) *rapid.Generator[T] {
	return rapid.OneOf(rapid.Just(never), rapid.Just(never), rapid.Just(never), g)
}

var configs = rapid.Custom(func(t *rapid.T) batcher.Config {
	c := batcher.Config{
		MaxRows:           rapid.IntRange(1, 5).Draw(t, "rows"),
		MaxQueue:          rapid.IntRange(1, 20).Draw(t, "queue"),
		PrefillStepTokens: rapid.IntRange(1, 40).Draw(t, "chunk"),
		Window:            rapid.SampledFrom([]time.Duration{0, 2 * time.Millisecond, 30 * time.Millisecond}).Draw(t, "window"),
		FastPath:          rapid.Bool().Draw(t, "fast path"),
		LatencyTarget:     rapid.SampledFrom([]time.Duration{time.Millisecond, 20 * time.Millisecond, time.Second}).Draw(t, "target"),
		AgeingInterval:    rapid.SampledFrom([]time.Duration{20 * time.Millisecond, 100 * time.Millisecond, time.Minute}).Draw(t, "ageing"),
	}
	if rapid.Bool().Draw(t, "adaptive") {
		c.AdaptiveWindow = &batcher.AdaptiveWindow{Low: time.Millisecond, Medium: 5 * time.Millisecond, High: 20 * time.Millisecond}
	}
	if rapid.Bool().Draw(t, "tune") {
		c.AutoTune = &batcher.AutoTune{MinRows: 1, MaxRows: 6, Alpha: 0.3, Interval: 5}
	}
	return c
})

var arrivals = rapid.Custom(func(t *rapid.T) arrival {
	place := rapid.OneOf(rapid.Just(-1), rapid.IntRange(0, 10))
	return arrival{
		at:        durations(300).Draw(t, "at"),
		announced: rarely(0, durations(50)).Draw(t, "announced"),
		cancel:    rarely(0, durations(300)).Draw(t, "cancel"),
		timeout:   rarely(0, durations(300)).Draw(t, "timeout"),
		model:     rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "model"),
		prompt:    rapid.IntRange(1, 60).Draw(t, "prompt"),
		max:       rapid.IntRange(1, 20).Draw(t, "max"),
		eosAt:     place.Draw(t, "eos"),
		stopAt:    place.Draw(t, "stop"),
		failAt:    rarely(-1, rapid.IntRange(0, 10)).Draw(t, "fail"),
		priority:  rapid.SampledFrom([]batcher.Priority{batcher.PriorityDefault, batcher.PriorityUrgent, batcher.PriorityBackground}).Draw(t, "priority"),
	}
})

var schedules = rapid.Custom(func(t *rapid.T) schedule {
	return schedule{
		config:       configs.Draw(t, "config"),
		ahead:        rapid.IntRange(0, 1).Draw(t, "ahead"),
		memory:       rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(60, 300)).Draw(t, "memory"),
		requests:     rapid.SliceOfN(arrivals, 1, 30).Draw(t, "requests"),
		failStep:     rarely(-1, rapid.IntRange(0, 40)).Draw(t, "failing step"),
		failDispatch: rapid.Bool().Draw(t, "failing dispatch"),
		unload:       rarely(0, durations(400)).Draw(t, "unload"),
		shutdown:     rarely(0, durations(600)).Draw(t, "shutdown"),
		drain:        durations(300).Draw(t, "drain"),
	}
})

// Whatever happens: one Done for each admitted request and nothing after it, tokens that are
// the engine's own, an end that its cause explains, no sequence or memory left in use.
func TestAnySchedule(t *testing.T) {
	var seen coverage
	rapid.Check(t, func(rt *rapid.T) {
		s := schedules.Draw(rt, "schedule")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = s.run(t, &seen) })
		if len(problems) > 0 {
			rt.Fatalf("%d problems, the first: %s", len(problems), problems[0])
		}
	})
	if seen.schedules < 1000 {
		return // too few to reach everything
	}
	if seen.preempted == 0 || seen.resumed == 0 || seen.ahead == 0 || seen.rows < 4 || seen.moved == 0 {
		t.Errorf("the schedules do not reach everything: %+v", seen)
	}
}

// coverage is what happened in all schedules together.
type coverage struct {
	schedules int
	preempted uint64 // requests
	resumed   int    // sequences beyond the first of a request
	ahead     int    // schedules with a step dispatched ahead
	rows      int    // most rows of a step
	moved     uint64 // of the row limit
}

func (c *coverage) add(s batcher.Snapshot, e *batchertest.Engine) {
	c.schedules++
	c.preempted += s.Preempted
	c.resumed += max(0, e.Sequences()-int(s.Submitted))
	c.ahead += e.MaxFlying() - 1
	c.rows = max(c.rows, e.MaxRows())
	c.moved += s.DegradationsTotal + s.Tuner.Adjustments
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

// tokens is a prompt that no other arrival has.
func (a arrival) tokens(i int) []int32 {
	ids := prompt(a.prompt)
	ids[0] = int32(i)
	return ids
}

func (s schedule) engine(c *collector) *batchertest.Engine {
	e := batchertest.New(c)
	e.StepTime, e.RowTime, e.PromptTokenTime = 5*time.Millisecond, time.Millisecond, time.Millisecond
	e.Ahead, e.BytesPerToken, e.LimitBytes = s.ahead, 1, s.memory
	// Token i of request r is 100*r + i (places beyond 99 do not occur), so that ends can be placed.
	e.Next = func(prompt []int32, i int) int32 { return 100*prompt[0] + int32(i) }
	e.OnToken = func(prompt []int32, i int) error {
		if s.requests[prompt[0]].failAt == i {
			return errors.New("broken")
		}
		return nil
	}
	steps := 0
	failing := func() error {
		steps++
		if steps-1 == s.failStep {
			return errors.New("broken")
		}
		return nil
	}
	if s.failDispatch {
		e.OnDispatch = func([]batcher.Row) error { return failing() }
	} else {
		e.OnStep = func(ctx, []batcher.Row) ([]error, error) { return nil, failing() }
	}
	return e
}

func (s schedule) run(t *testing.T, seen *coverage) []string {
	c := &collector{TB: t}
	engine := s.engine(c)
	b := batcher.New(engine, s.config)
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
	got := b.Stats()
	if got.Active != 0 || got.Queued != 0 || got.Memory.ReservedBytes != 0 ||
		got.Submitted != got.Completed+got.Cancelled+got.TimedOut+got.Failed {
		c.Errorf("stats %+v", got)
	}
	for _, f := range c.cleanups {
		f()
	}
	seen.add(got, engine)
	return c.problems
}

func (a arrival) run(c *collector, b *batcher.Batcher, i int, s schedule) {
	time.Sleep(a.at)
	if a.announced > 0 {
		done := b.Announce()
		time.Sleep(a.announced)
		defer done() // late, which the window bounds
	}
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
		if !a.mayBeRefused(fault.KindOf(err), s) {
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

func (a arrival) mayBeRefused(kind fault.Kind, s schedule) bool {
	switch kind {
	case fault.QueueFull:
		return true
	case fault.ShuttingDown:
		return s.shutdown > 0
	case fault.ModelNotLoaded:
		return s.unload > 0 && a.model == "b"
	case fault.InsufficientMemory:
		return s.memory > 0 && int64(a.prompt+a.max) > s.memory
	}
	return false
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
	if f.Stats.CompletionTokens != len(got) || f.Stats.PromptTokens != a.prompt || f.Stats.TTFT > f.Stats.Total {
		c.Errorf("request %d: stats %+v with %d tokens", i, f.Stats, len(got))
	}
	if len(got) > n || !slices.Equal(got, want[:len(got)]) {
		c.Errorf("request %d: tokens %v, want the beginning of %v", i, got, want)
	}
	explained := f.Reason == reason && len(got) == n && (f.Err != nil) == (reason == batcher.FinishError)
	switch f.Reason {
	case batcher.FinishCancelled:
		explained = cancelled && f.Err == nil || s.shutdown > 0 && fault.Is(f.Err, fault.ShuttingDown) ||
			s.unload > 0 && a.model == "b" && fault.Is(f.Err, fault.Cancelled)
	case batcher.FinishTimeout:
		explained = a.timeout > 0 && f.Stats.Total >= a.timeout
	case batcher.FinishError:
		explained = explained || s.failStep >= 0 && fault.Is(f.Err, fault.Generation)
	}
	if !explained {
		c.Errorf("request %d (%+v) ended with %+v after %v", i, a, f, got)
	}
}
