package sim

import (
	"slices"
	"time"

	"mlx-worker/batcher"
)

// Point is the result of one replay. Times are milliseconds.
type Point struct {
	Sweep   string  `json:"sweep"`
	Machine string  `json:"machine"`
	Trace   string  `json:"trace"`
	Setting string  `json:"setting"`
	X       float64 `json:"x"` // the knob's value, or the place among the settings

	Requests        int     `json:"requests"`
	Completed       uint64  `json:"completed"`
	Seconds         float64 `json:"seconds"` // of simulated time, from the first arrival to the last token
	TokensPerSecond float64 `json:"tokensPerSecond"`

	TTFT       Percentiles  `json:"ttft"`               // from the frame's arrival
	TTFTLong   *Percentiles `json:"ttftLong,omitempty"` // of the long prompts alone; TTFT is without them
	InterToken Percentiles  `json:"interToken"`
	Queue      Percentiles  `json:"queue"` // submission to first step
	Total      Percentiles  `json:"total"` // arrival to end

	Steps        uint64  `json:"steps"`
	MeanRows     float64 `json:"meanRows"`
	RowLimit     int     `json:"rowLimit"` // at the end
	FastPath     uint64  `json:"fastPath"`
	Preempted    uint64  `json:"preempted"`
	Degradations uint64  `json:"degradations"`
	Recoveries   uint64  `json:"recoveries"`
	Adjustments  uint64  `json:"adjustments"`
}

// Percentiles of a sample in milliseconds, interpolated linearly between ranks.
type Percentiles struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

func newPoint(records []record, s batcher.Snapshot) Point {
	var ttft, ttftLong, interToken, queue, total []time.Duration
	first, last, tokens := records[0].arrival.at, time.Duration(0), 0
	for _, r := range records {
		if len(r.tokens) == 0 {
			continue
		}
		toFirst := r.tokens[0] - r.arrival.at
		if r.arrival.long {
			ttftLong = append(ttftLong, toFirst)
		} else {
			ttft = append(ttft, toFirst)
		}
		for i := range r.tokens[1:] {
			interToken = append(interToken, r.tokens[i+1]-r.tokens[i])
		}
		queue = append(queue, r.finish.Stats.Queue)
		total = append(total, r.done-r.arrival.at)
		last = max(last, r.done)
		tokens += len(r.tokens)
	}
	seconds := (last - first).Seconds()
	p := Point{
		Requests: len(records), Completed: s.Completed, Seconds: seconds, TokensPerSecond: float64(tokens) / seconds,
		TTFT: percentilesOf(ttft), InterToken: percentilesOf(interToken), Queue: percentilesOf(queue), Total: percentilesOf(total),
		Steps: s.Steps, MeanRows: s.Batch.MeanRows(), RowLimit: s.Tuner.RowLimit,
		FastPath: s.FastPathTotal, Preempted: s.Preempted,
		Degradations: s.DegradationsTotal, Recoveries: s.RecoveriesTotal, Adjustments: s.Tuner.Adjustments,
	}
	if len(ttftLong) > 0 {
		long := percentilesOf(ttftLong)
		p.TTFTLong = &long
	}
	return p
}

func percentilesOf(samples []time.Duration) Percentiles {
	if len(samples) == 0 {
		return Percentiles{}
	}
	slices.Sort(samples)
	sum := 0.0
	for _, d := range samples {
		sum += ms(d)
	}
	at := func(p float64) float64 {
		rank := p * float64(len(samples)-1)
		low := int(rank)
		high := min(low+1, len(samples)-1)
		return ms(samples[low]) + (rank-float64(low))*ms(samples[high]-samples[low])
	}
	return Percentiles{sum / float64(len(samples)), at(0.5), at(0.95), at(0.99), at(1)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
