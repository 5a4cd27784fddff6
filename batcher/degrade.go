package batcher

import "time"

const (
	// degradeSamples is the number of inter-token latencies of an evaluation.
	degradeSamples = 100
	// degradeAfter is how many evaluations in a row must agree.
	degradeAfter = 3
	// recoverBelow is the part of the latency target to be below for rows to come back.
	recoverBelow = 0.75
	// mostPatience bounds how many evaluations a recovery waits for, which doubles with each one
	// that did not last: a target between two row limits must not make them alternate.
	mostPatience = 64 * degradeAfter
	// degradeHelped is the part of the P99 before that is left where fewer rows help.
	degradeHelped = 0.9
	// recoverIdle is the idle time after which nothing of the past counts.
	recoverIdle = 10 * time.Second
)

// degrader halves the row limit while the latency target is missed for long, and doubles it
// again when there is room. It acts where the tuner is off.
type degrader struct {
	most   int // rows that the configuration allows
	target time.Duration

	latencySamples
	rows  int // row limit
	over  int // evaluations in a row above the target
	under int // evaluations in a row with room

	lowered  time.Duration // P99 when the limit was lowered last; 0: it was raised since
	raised   bool          // since it was lowered last
	patience int           // evaluations in a row with room that raise the limit
}

func newDegrader(rows int, target time.Duration) *degrader {
	return &degrader{most: rows, target: target, rows: rows, patience: degradeAfter}
}

// adjust evaluates if there are enough samples. It returns -1 if it lowered the row limit, +1
// if it raised it, else 0.
func (d *degrader) adjust() int {
	if len(d.samples) < degradeSamples {
		return 0
	}
	d.evaluate()
	switch {
	case d.p99 > d.target:
		d.over, d.under = d.over+1, 0
	case float64(d.p99) < recoverBelow*float64(d.target):
		d.over, d.under = 0, d.under+1
	default:
		d.over, d.under = 0, 0
	}
	switch {
	case d.over == degradeAfter:
		return d.lower()
	case d.under >= d.patience:
		d.raised, d.lowered = true, 0
		return d.move(d.rows * 2)
	}
	return 0
}

// lower halves the row limit, unless the last time did not help.
func (d *degrader) lower() int {
	d.over = 0
	if d.lowered > 0 && float64(d.p99) > degradeHelped*float64(d.lowered) {
		return 0
	}
	if d.raised {
		d.patience = min(2*d.patience, mostPatience)
	}
	d.raised, d.lowered = false, d.p99
	return d.move(d.rows / 2)
}

func (d *degrader) move(rows int) int {
	before := d.rows
	d.rows, d.over, d.under = min(max(rows, 1), d.most), 0, 0
	switch {
	case d.rows < before:
		return -1
	case d.rows > before:
		return +1
	}
	return 0
}

// reset forgets the past and returns +1 if that raised the row limit.
func (d *degrader) reset() int {
	d.samples = d.samples[:0]
	d.raised, d.lowered, d.patience = false, 0, degradeAfter
	return d.move(d.most)
}
