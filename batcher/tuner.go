package batcher

import "time"

const (
	// tunerSamples is the least number of inter-token latencies that an adjustment goes by.
	tunerSamples = 20
	// tunerSlack is the part of the latency target below which the tuner asks for more.
	tunerSlack = 0.8
	// prefillGrowth, prefillShrink and leastPrefill move the part of the prefill budget.
	prefillGrowth, prefillShrink, leastPrefill = 1.25, 0.7, 0.25
)

// tuner moves the row limit and the prefill budget towards the latency target (Config.AutoTune).
// It starts at the configured row limit: starting at the least would make the first burst wait
// for adjustments that it does not need.
type tuner struct {
	cfg    AutoTune
	target time.Duration

	latencySamples
	rows    int           // row limit
	factor  float64       // part of the prefill budget beside decodes that is used
	average time.Duration // moving average of p99
	steps   int           // since the latest evaluation
}

func newTuner(cfg AutoTune, rows int, target time.Duration) *tuner {
	return &tuner{cfg: cfg, target: target, rows: rows, factor: 1}
}

// adjust is called after every step. It evaluates once there have been enough steps and samples,
// and reports whether it changed something. waiting says that requests wait for a row.
func (t *tuner) adjust(waiting bool) (changed bool) {
	t.steps++
	if t.steps < t.cfg.Interval || len(t.samples) < tunerSamples {
		return false
	}
	t.steps = 0
	t.evaluate()
	if t.average == 0 {
		t.average = t.p99
	}
	t.average += time.Duration(t.cfg.Alpha * float64(t.p99-t.average))

	rows, factor := t.rows, t.factor
	switch {
	case t.p99 > 2*t.target && 2*t.p99 > 3*t.average: // sudden: the average lags behind
		rows, factor = rows-2, factor*prefillShrink
	case t.average > t.target:
		rows, factor = rows-1, factor*prefillShrink
	case float64(t.average) < tunerSlack*float64(t.target):
		factor *= prefillGrowth
		if waiting {
			rows++
		}
	}
	rows = min(max(rows, t.cfg.MinRows), t.cfg.MaxRows)
	factor = min(max(factor, leastPrefill), 1)
	changed = rows != t.rows || factor != t.factor
	t.rows, t.factor = rows, factor
	return changed
}
