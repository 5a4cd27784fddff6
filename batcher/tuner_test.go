package batcher

import (
	"testing"
	"time"
)

const target = 100 * time.Millisecond

// after lets a tuner see so many samples of a latency in as many steps as an adjustment takes.
func after(t *tuner, samples int, latency time.Duration, waiting bool) (changed bool) {
	for range samples {
		t.observe(latency)
	}
	for range t.cfg.Interval {
		changed = t.adjust(waiting) || changed
	}
	return changed
}

func TestTuner(t *testing.T) {
	for _, c := range []struct {
		name      string
		latencies []time.Duration // one for each adjustment
		waiting   bool
		rows      int // at the start
		want      int
		factor    float64
	}{
		{"in between", []time.Duration{90 * time.Millisecond}, true, 4, 4, 1},
		{"room and requests", []time.Duration{50 * time.Millisecond}, true, 4, 5, 1},
		{"room, nobody waits", []time.Duration{50 * time.Millisecond}, false, 4, 4, 1},
		{"room, at the most", []time.Duration{50 * time.Millisecond}, true, 8, 8, 1},
		{"missed", []time.Duration{120 * time.Millisecond}, true, 4, 3, 0.7},
		{"missed, at the least", []time.Duration{120 * time.Millisecond}, true, 2, 2, 0.7},
		{"missed for long", []time.Duration{120 * time.Millisecond, 120 * time.Millisecond, 120 * time.Millisecond, 120 * time.Millisecond, 120 * time.Millisecond}, true, 8, 3, 0.25},
		{"suddenly far off", []time.Duration{90 * time.Millisecond, 300 * time.Millisecond}, true, 8, 6, 0.7},
		{"far off from the start", []time.Duration{300 * time.Millisecond}, true, 8, 7, 0.7},
		{"prefill comes back though nobody waits", []time.Duration{120 * time.Millisecond, 0}, false, 4, 3, 0.875},
	} {
		tuner := newTuner(AutoTune{MinRows: 2, MaxRows: 8, Alpha: 0.5, Interval: 10}, c.rows, target)
		for _, latency := range c.latencies {
			after(tuner, 30, latency, c.waiting)
		}
		if tuner.rows != c.want || tuner.factor < c.factor-1e-9 || tuner.factor > c.factor+1e-9 {
			t.Errorf("%s: %d rows, factor %v, want %d, %v", c.name, tuner.rows, tuner.factor, c.want, c.factor)
		}
	}
}

func TestTunerWaitsForSamples(t *testing.T) {
	tuner := newTuner(AutoTune{MinRows: 1, MaxRows: 8, Alpha: 0.5, Interval: 10}, 4, target)
	if after(tuner, 19, time.Second, true) || tuner.p99 != 0 {
		t.Errorf("adjusted by 19 samples: %+v", tuner)
	}
	if !after(tuner, 1, time.Second, true) || tuner.p99 != time.Second || tuner.rows != 3 {
		t.Errorf("not adjusted by 20 samples: %+v", tuner)
	}
	// Only what came since the last adjustment counts; the average remembers.
	after(tuner, 20, 100*time.Millisecond, true)
	if tuner.p99 != 100*time.Millisecond || tuner.average != 550*time.Millisecond {
		t.Errorf("%+v", tuner)
	}
}

// evaluate lets a degrader see n evaluations' worth of one latency.
func evaluate(d *degrader, n int, latency time.Duration) (moved int) {
	for range n {
		for range degradeSamples {
			d.observe(latency)
		}
		moved += d.adjust()
	}
	return moved
}

// evaluationsUntil evaluates until the limit is rows and returns how often.
func evaluationsUntil(d *degrader, rows int, latency time.Duration) (n int) {
	for d.rows != rows && n < mostPatience {
		evaluate(d, 1, latency)
		n++
	}
	return n
}

func TestDegrader(t *testing.T) {
	d := newDegrader(12, target)
	for _, c := range []struct {
		evaluations int
		latency     time.Duration
		moved, rows int
	}{
		{2, 110 * time.Millisecond, 0, 12},
		{1, 90 * time.Millisecond, 0, 12}, // breaks the run
		{2, 110 * time.Millisecond, 0, 12},
		{1, 190 * time.Millisecond, -1, 6},
		{3, 180 * time.Millisecond, 0, 6}, // the last time did not help
		{3, 150 * time.Millisecond, -1, 3},
		{9, 130 * time.Millisecond, -1, 1}, // and no less
		{2, 70 * time.Millisecond, 0, 1},
		{1, 80 * time.Millisecond, 0, 1}, // breaks the run
		{3, 70 * time.Millisecond, 1, 2},
		{9, 70 * time.Millisecond, 3, 12}, // 4, 8, and no more than allowed
		{9, 70 * time.Millisecond, 0, 12},
	} {
		if moved := evaluate(d, c.evaluations, c.latency); moved != c.moved || d.rows != c.rows {
			t.Fatalf("%+v: moved %d, %d rows", c, moved, d.rows)
		}
	}
	for range 2 { // each recovery that does not last makes the next one wait longer
		evaluate(d, 3, 200*time.Millisecond)
		if waited := evaluationsUntil(d, 12, 70*time.Millisecond); waited != d.patience || waited <= degradeAfter {
			t.Errorf("recovered after %d evaluations, patience %d", waited, d.patience)
		}
	}
	if d.patience != 4*degradeAfter {
		t.Errorf("patience %d", d.patience)
	}
	for range degradeSamples - 1 {
		d.observe(time.Second)
	}
	if d.adjust(); d.p99 == time.Second {
		t.Error("evaluated too few samples")
	}
	evaluate(d, 3, time.Second)
	if d.rows != 6 || d.reset() != 1 || d.rows != 12 || d.reset() != 0 || d.patience != degradeAfter {
		t.Errorf("%+v", d)
	}
}
