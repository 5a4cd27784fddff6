package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
)

// record is what a client saw of a request. Times are from the start of the trace.
type record struct {
	arrival   arrival
	submitted time.Duration
	tokens    []time.Duration // when each was told
	done      time.Duration
	finish    batcher.Finish
}

// output writes a record. The batcher calls it from one goroutine.
type output struct {
	*record
	start time.Time
}

func (o output) Token(batcher.Token) (stop bool) {
	o.tokens = append(o.tokens, time.Since(o.start))
	return false
}

func (o output) Done(f batcher.Finish) {
	o.done = time.Since(o.start)
	o.finish = f
}

// replay runs a trace to its end and returns a record for each arrival, in order, with the
// batcher's figures at the end. It is called in a synctest bubble.
//
// One goroutine plays all clients, and lets the batcher settle before and after all that it does:
// what happens at the same instant then has one order, and two runs are equal.
func replay(m *Machine, stepsAhead int, cfg batcher.Config, trace []arrival) ([]record, batcher.Snapshot, error) {
	e := &engine{machine: m, ahead: stepsAhead}
	b := batcher.New(e, cfg)
	if _, err := b.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: "/" + modelID}, nil); err != nil {
		return nil, batcher.Snapshot{}, err
	}
	records := make([]record, len(trace))
	err := play(b, trace, records)
	figures := b.Stats()
	if err == nil {
		// No deadline: it returns when the last request is done.
		err = b.Shutdown(context.Background())
	}
	if err == nil {
		err = e.fault
	}
	return records, figures, err
}

// event is what a client does: its frame arrives, then it is submitted.
type event struct {
	at      time.Duration
	request int
	submit  bool
}

func eventsOf(trace []arrival) []event {
	events := make([]event, 0, 2*len(trace))
	for i, a := range trace {
		events = append(events, event{a.at, i, false}, event{a.at + a.tokenizing, i, true})
	}
	slices.SortStableFunc(events, func(x, y event) int { return cmp.Compare(x.at, y.at) })
	return events
}

func play(b *batcher.Batcher, trace []arrival, records []record) error {
	longest := 0
	for _, a := range trace {
		longest = max(longest, a.prompt)
	}
	prompt := make([]int32, longest)
	start := time.Now()
	announced := make([]func(), len(trace))
	for _, e := range eventsOf(trace) {
		time.Sleep(e.at - time.Since(start))
		synctest.Wait()
		if !e.submit {
			announced[e.request] = b.Announce()
			continue
		}
		r := &records[e.request]
		*r = record{arrival: trace[e.request], submitted: time.Since(start)}
		if _, err := b.Submit(context.Background(), r.request(prompt, start)); err != nil {
			return fmt.Errorf("request %d: %w", e.request, err)
		}
		announced[e.request]()
		synctest.Wait()
	}
	return settle(b, len(trace))
}

func (r *record) request(prompt []int32, start time.Time) batcher.Request {
	a := r.arrival
	r.tokens = make([]time.Duration, 0, a.completion)
	return batcher.Request{
		ModelID: modelID, Prompt: prompt[:a.prompt], MaxTokens: 4 * a.completion, EOSIDs: []int32{tokenEnd},
		Sequence: batcher.SequenceOptions{Sampling: batcher.Sampling{Seed: uint64(a.completion)}},
		Priority: a.priority, Output: output{r, start},
	}
}

// settle waits until all requests have ended.
func settle(b *batcher.Batcher, requests int) error {
	for ended := uint64(0); ended < uint64(requests); {
		time.Sleep(time.Second)
		synctest.Wait()
		s := b.Stats()
		now := s.Completed + s.Cancelled + s.TimedOut + s.Failed
		if now == ended && s.Active+s.Queued == 0 {
			return fmt.Errorf("%d of %d requests ended, the others are lost", ended, requests)
		}
		ended = now
	}
	return nil
}
