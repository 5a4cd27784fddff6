package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"mlx-worker/batcher"
)

// arrival is a request of a trace.
type arrival struct {
	at         time.Duration // when its frame has been read, from the start of the trace
	tokenizing time.Duration // from there to its submission
	prompt     int           // tokens
	completion int           // tokens, the end-of-text token included
	priority   batcher.Priority
	long       bool // one of the long prompts that are mixed in
}

const (
	longShare      = 0.02
	longPromptLow  = 1500
	longPromptHigh = 2500
)

// generator draws traces. The same seed gives the same trace.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0x6d6c78))}
}

// exponential draws a time between the events of a Poisson process.
func (g generator) exponential(mean time.Duration) time.Duration {
	return time.Duration(g.ExpFloat64() * float64(mean))
}

// logNormal draws a length, clamped.
func (g generator) logNormal(median, sigma float64, low, high int) int {
	return min(max(int(median*math.Exp(sigma*g.NormFloat64())), low), high)
}

// request draws the lengths of a chat: a median of 50 prompt and 50 completion tokens.
func (g generator) request(at time.Duration) arrival {
	return arrival{
		at:         at,
		tokenizing: 100*time.Microsecond + g.exponential(100*time.Microsecond),
		prompt:     g.logNormal(50, 0.8, 4, 1000),
		completion: g.logNormal(50, 0.6, 2, 256),
	}
}

// poisson is independent arrivals at a rate per second.
func (g generator) poisson(n int, rate float64) []arrival {
	return g.wave(n, rate, rate, time.Hour)
}

// wave is a Poisson process whose rate alternates between two values.
func (g generator) wave(n int, first, second float64, period time.Duration) []arrival {
	trace := make([]arrival, n)
	at := time.Duration(0)
	for i := range trace {
		rate := first
		if at/period%2 == 1 {
			rate = second
		}
		at += g.exponential(time.Duration(float64(time.Second) / rate))
		trace[i] = g.request(at)
	}
	return trace
}

// bursts is groups of 2 to 16 requests, spacing apart on average within a group, and so far apart
// from one another that the machine is mostly idle when one comes.
func (g generator) bursts(n int, apart, spacing time.Duration) []arrival {
	trace := make([]arrival, 0, n)
	at := time.Duration(0)
	for len(trace) < n {
		at += apart/2 + g.exponential(apart/2)
		for range min(2+g.IntN(15), n-len(trace)) {
			trace = append(trace, g.request(at))
			at += g.exponential(spacing)
		}
	}
	return trace
}

// lone is requests each of which finds the machine idle.
func (g generator) lone(n int, apart time.Duration) []arrival {
	trace := make([]arrival, n)
	for i := range trace {
		trace[i] = g.request(time.Duration(i) * apart)
	}
	return trace
}

// atOnce is all requests within a second.
func (g generator) atOnce(n int) []arrival { return g.poisson(n, float64(n)) }

// withLong makes some prompts of a trace long.
func (g generator) withLong(trace []arrival) []arrival {
	for i := range trace {
		if g.Float64() < longShare {
			trace[i].long = true
			trace[i].prompt = longPromptLow + g.IntN(longPromptHigh-longPromptLow)
		}
	}
	return trace
}

// withPriorities gives a fifth of a trace each to urgent and to background.
func (g generator) withPriorities(trace []arrival) []arrival {
	for i := range trace {
		switch g.IntN(5) {
		case 0:
			trace[i].priority = batcher.PriorityUrgent
		case 1:
			trace[i].priority = batcher.PriorityBackground
		}
	}
	return trace
}
