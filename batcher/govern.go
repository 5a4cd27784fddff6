package batcher

import (
	"slices"
	"time"
)

// governor sets the row limit and the part of the prefill budget that is used: by the tuner if
// it is on, else by the degrader.
type governor struct {
	tuner    *tuner
	degrader *degrader
}

func newGovernor(c Config) governor {
	if c.AutoTune != nil {
		return governor{tuner: newTuner(*c.AutoTune, c.firstRows(), c.LatencyTarget)}
	}
	return governor{degrader: newDegrader(c.MaxRows, c.LatencyTarget)}
}

// latencySamples are the inter-token latencies that a governor goes by.
type latencySamples struct {
	samples []int64       // since the latest evaluation
	p99     time.Duration // of the latest evaluation; 0: none yet
}

// observe takes an inter-token latency.
func (l *latencySamples) observe(d time.Duration) { l.samples = append(l.samples, int64(d)) }

// evaluate makes p99 that of the samples, at least one, and starts anew.
func (l *latencySamples) evaluate() {
	slices.Sort(l.samples)
	l.p99 = percentile(l.samples, 0.99)
	l.samples = l.samples[:0]
}

func (g *governor) observe(d time.Duration) {
	if g.tuner != nil {
		g.tuner.observe(d)
		return
	}
	g.degrader.observe(d)
}

func (g *governor) prefillFactor() float64 {
	if g.tuner != nil {
		return g.tuner.factor
	}
	return 1
}

// regulate follows a step.
func (b *Batcher) regulate() {
	m := &b.metrics
	if t := b.govern.tuner; t != nil {
		if t.adjust(m.queued.Load() > 0) {
			m.adjustments.Add(1)
		}
		m.limit.Store(int64(t.rows))
		m.p99.Store(int64(t.p99))
		m.p99Average.Store(int64(t.average))
		return
	}
	d := b.govern.degrader
	b.moved(d.adjust())
	m.p99.Store(int64(d.p99))
	m.p99Average.Store(int64(d.p99))
}

// moved books what the degrader did.
func (b *Batcher) moved(direction int) {
	switch direction {
	case 0:
		return
	case -1:
		b.metrics.degradations.Add(1)
	case +1:
		b.metrics.recoveries.Add(1)
	}
	b.metrics.limit.Store(int64(b.govern.degrader.rows))
}

// recover lets a worker that was idle for long start undegraded.
func (b *Batcher) recover(now time.Time) {
	if d := b.govern.degrader; d != nil && now.Sub(b.landed) >= recoverIdle {
		b.moved(d.reset())
	}
}
