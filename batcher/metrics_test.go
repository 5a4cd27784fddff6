package batcher

import (
	"sync"
	"testing"
	"time"
)

func TestPercentileInterpolates(t *testing.T) {
	for _, c := range []struct {
		samples []int64
		p       float64
		want    time.Duration
	}{
		{nil, 0.5, 0}, {[]int64{7}, 0.99, 7}, {[]int64{10, 20}, 0.5, 15}, {[]int64{0, 10, 20, 30, 40}, 0.95, 38}, {[]int64{1, 2, 3}, 1, 3},
	} {
		if got := percentile(c.samples, c.p); got != c.want {
			t.Errorf("percentile(%v, %v) = %v, want %v", c.samples, c.p, got, c.want)
		}
	}
}

func TestRingKeepsTheLast1000(t *testing.T) {
	var r ring
	for i := range 3000 {
		r.add(time.Duration(i))
	}
	got := r.latency()
	if got.Count != 3000 || got.P50 != 2499 || got.P99 != 2989 {
		t.Errorf("%+v", got)
	}
}

func TestRateSlotsAreReused(t *testing.T) {
	start := time.Now()
	r := rate{started: start}
	r.add(start)
	r.add(start.Add(90 * time.Second))
	r.add(start.Add(90 * time.Second))
	if got := r.perSecond(start.Add(90*time.Second), 5*time.Second); got < 2/5.0 || got > 2/4.7 {
		t.Errorf("%v", got)
	}
	// A slot's earlier life, a minute ago, does not count.
	r = rate{started: start}
	r.add(start.Add(slotTime))
	r.add(start.Add(slotTime * time.Duration(slotCount+1)))
	if got := r.perSecond(start.Add(slotTime*time.Duration(slotCount+1)), time.Minute); got < 1/60.0 || got > 1/59.0 {
		t.Errorf("%v", got)
	}
}

// Readers race with the writer by design; the race detector checks that they may.
func TestReadersRaceWithTheWriter(t *testing.T) {
	var r ring
	q := rate{started: time.Now()}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 20_000 {
			r.add(5)
			q.add(q.started.Add(time.Duration(i) * time.Millisecond))
		}
	})
	group.Go(func() {
		for range 50 {
			if got := r.latency(); got.Count > 1 && got.P50 != 5 {
				t.Errorf("%+v", got)
			}
			q.perSecond(q.started.Add(10*time.Second), time.Minute)
		}
	})
	group.Wait()
}

// What metrics cost in a step of 64 rows: to compare with a step of 10 ms.
func BenchmarkMetricsOfAStep(b *testing.B) {
	const rows = 64
	batcher := &Batcher{cfg: Config{MaxRows: rows}.withDefaults()}
	batcher.metrics.init(batcher.cfg, time.Now())
	batcher.govern = newGovernor(batcher.cfg)
	f := &flight{rows: make([]Row, rows), decodes: rows}
	streams := make([]Stream, rows)
	for b.Loop() {
		now := time.Now()
		batcher.metrics.stepped(f)
		for i := range streams {
			batcher.count(&streams[i], f, 1, now)
		}
		batcher.regulate()
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(10*time.Millisecond)*100, "%-of-10-ms")
}
