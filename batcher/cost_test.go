package batcher

import (
	"math"
	"testing"
	"time"
)

const far = time.Hour // a latency target that limits nothing

// learnt has seen decodes of some rows and a prefill.
func learnt(decodes map[int]time.Duration, prompt int, took time.Duration) *costs {
	c := &costs{}
	for rows, d := range decodes {
		c.observe(rows, 0, d)
	}
	if prompt > 0 {
		c.observe(0, prompt, took)
	}
	return c
}

func TestBudget(t *testing.T) {
	ms := time.Millisecond
	// 40 ms for a decode, 2 ms for a prompt token.
	known := map[int]time.Duration{1: 40 * ms, 8: 60 * ms}
	slow := learnt(known, 400, 840*ms)
	for _, c := range []struct {
		name    string
		costs   *costs
		decodes int
		most    int
		target  time.Duration
		factor  float64
		want    int
	}{
		{"lone, nothing measured", &costs{}, 0, 2048, far, 1, 512},
		{"lone, nothing measured, small limit", &costs{}, 0, 100, far, 1, 96},
		{"lone, limit below a tile", &costs{}, 0, 7, far, 1, 7},
		{"lone: 500 ms less a decode", slow, 0, 2048, far, 1, 224},
		{"lone ignores target and factor", slow, 0, 2048, ms, 0.25, 224},
		{"lone, very slow", learnt(nil, 10, time.Second), 0, 2048, far, 1, 64},
		{"lone, fast, up to the limit", learnt(nil, 1000, 10*ms), 0, 2048, far, 1, 2048},
		{"lone, fast, up to what was measured", learnt(nil, 200, ms), 0, 8192, far, 1, 800},
		{"shared, nothing measured", &costs{}, 8, 2048, far, 1, 16},
		{"shared, no decode measured", learnt(nil, 400, 800*ms), 8, 2048, far, 1, 16},
		{"shared: a decode more", slow, 8, 2048, far, 1, 24}, // 60 ms / 2 = 30
		{"shared, one row", slow, 1, 2048, far, 1, 16},       // 40 ms / 2 = 20
		{"shared, fast", learnt(known, 1000, 140*ms), 8, 2048, far, 1, 600},
		{"shared, fast, target", learnt(known, 1000, 140*ms), 8, 2048, 80 * ms, 1, 200},
		{"shared, fast, factor", learnt(known, 1000, 140*ms), 8, 2048, far, 0.5, 296},
		{"shared, target missed by decodes alone", learnt(known, 1000, 140*ms), 8, 2048, ms, 1, 144}, // 15 ms
		{"shared, limit", learnt(known, 1000, 140*ms), 8, 100, far, 1, 96},
		{"shared, limit below a tile", slow, 8, 7, far, 1, 7},
		{"shared, prefill for free", learnt(known, 30, ms), 8, 2048, far, 1, 120}, // 4 times what was measured
	} {
		if got := c.costs.budget(c.decodes, c.most, c.target, c.factor); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestDecodeTimeIsPredicted(t *testing.T) {
	c := learnt(map[int]time.Duration{4: 100 * time.Millisecond, 16: 200 * time.Millisecond}, 0, 0)
	for rows, want := range map[int]float64{4: 0.1, 16: 0.2, 8: 0.1 * math.Pow(2, 0.25), 1: 0.1 * math.Pow(0.25, 0.25), 15: 0.2 * math.Pow(15.0/16, 0.25), 64: 0.2 * math.Sqrt2} {
		if got := c.decodeTime(rows); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d rows: %v, want %v", rows, got, want)
		}
	}
	if got := (&costs{}).decodeTime(3); got != 0 {
		t.Errorf("nothing measured: %v", got)
	}
}

// Whatever was learnt first, the predictions come to what is.
func TestCostsFollowTheEngine(t *testing.T) {
	c := learnt(map[int]time.Duration{8: 20 * time.Second}, 2, 10*time.Second) // kernels were compiled
	for range 60 {
		c.observe(8, 0, 50*time.Millisecond)
		c.observe(8, 32, 50*time.Millisecond+32*2*time.Millisecond)
	}
	if got := c.decodeTime(8); got < 0.05 || got > 0.051 {
		t.Errorf("decode %v", got)
	}
	if got := c.perToken(); got < 0.0019 || got > 0.0021 {
		t.Errorf("prompt token %v", got)
	}
}

// A short prompt's time is mostly that of reading the weights; it must not spoil the estimate.
func TestShortPromptsCountByTheirTokens(t *testing.T) {
	c := learnt(nil, 1000, 2*time.Second)
	c.observe(0, 2, 100*time.Millisecond)
	if got := c.perToken(); got > 0.0022 {
		t.Errorf("prompt token %v", got)
	}
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		left, budget int
		shared       bool
		want         int
	}{
		{100, 512, false, 100}, {100, 100, true, 100}, {100, 64, false, 64}, {100, 50, true, 48},
		{100, 12, true, 8}, {100, 6, true, 0}, {100, 6, false, 6}, {5, 6, true, 5}, {100, 0, true, 0},
	} {
		if got := chunk(c.left, c.budget, c.shared); got != c.want {
			t.Errorf("chunk(%d, %d, %v) = %d, want %d", c.left, c.budget, c.shared, got, c.want)
		}
	}
}

// Prompts that keep coming leave no step of decodes alone unless one is made.
func TestCostsAreLearntUnderLoad(t *testing.T) {
	for name, c := range map[string]*costs{"from nothing": {}, "after a prefill": learnt(nil, 512, 60*time.Millisecond)} {
		var n int
		for range 50 {
			if !c.timed(8) {
				c.observe(8, 0, 40*time.Millisecond)
			}
			n = c.budget(8, 2048, far, 1)
			c.observe(8, n, 40*time.Millisecond+time.Duration(n)*100*time.Microsecond)
		}
		if n < 200 || n > 500 { // twice 40 ms leave 400
			t.Errorf("%s: %d tokens in the end", name, n)
		}
	}
}
