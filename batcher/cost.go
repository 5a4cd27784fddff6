package batcher

import (
	"math"
	"time"
)

const (
	// decodeSlowdown is how much longer than decodes alone a step may take with prompt tokens
	// beside them. With 2, streams see a prompt being computed as an inter-token latency of at
	// most 3 times their median, with room for what the estimate misses.
	decodeSlowdown = 2
	// leastSlowdown is allowed whatever the latency target says, so that prompts get on.
	leastSlowdown = 1.25
	// leastChunk is the smallest budget beside decodes, for the same reason.
	leastChunk = 16
	// loneStepTime bounds a step without decodes: it is how long a request that comes meanwhile
	// waits, and how long a cancel takes.
	loneStepTime = 500 * time.Millisecond
	// leastLoneChunk is the smallest budget without decodes.
	leastLoneChunk = 64
	// unmeasuredChunk is the budget without decodes before anything was measured.
	unmeasuredChunk = 512
	// growth bounds a budget by the longest prefill that was measured: the time per token of a
	// short one says little about long ones.
	growth = 4
	// chunkMultiple is what chunks are rounded down to: kernels compute in tiles.
	chunkMultiple = 8

	// decodeWeight is the weight of the newest decode time in its average.
	decodeWeight = 0.2
	// prefillDecay is what a step leaves of the weight of earlier ones in the time per token.
	prefillDecay = 0.8
)

// costs predicts a model's step times from those it has seen. Times are in seconds.
type costs struct {
	decode []float64 // moving average of steps without prompt tokens, by rows; 0: unknown

	// Decaying sums over steps with prompt tokens, so that a step counts by its tokens: the time
	// beyond that of its decodes, and the tokens.
	extra, tokens float64
	longest       int // most prompt tokens of one step
}

// observe learns from a step.
func (c *costs) observe(decodes, promptTokens int, took time.Duration) {
	seconds := took.Seconds()
	if promptTokens == 0 {
		c.observeDecode(decodes, seconds)
		return
	}
	base := c.decodeTime(max(decodes, 1)) // a step reads the weights once, whatever its rows
	if base == 0 && decodes > 0 {
		return // nothing to tell them apart by
	}
	c.extra = c.extra*prefillDecay + max(seconds-base, 0)
	c.tokens = c.tokens*prefillDecay + float64(promptTokens)
	c.longest = max(c.longest, promptTokens)
}

func (c *costs) observeDecode(rows int, seconds float64) {
	for len(c.decode) <= rows {
		c.decode = append(c.decode, 0)
	}
	if known := c.decode[rows]; known > 0 {
		seconds = known + decodeWeight*(seconds-known)
	}
	c.decode[rows] = seconds
}

// timed reports whether steps of about so many decodes, and nothing else, were measured.
func (c *costs) timed(rows int) bool {
	for known := (3*rows + 3) / 4; known <= rows+rows/3 && known < len(c.decode); known++ {
		if c.decode[known] > 0 {
			return true
		}
	}
	return false
}

// decodeTime predicts a step of decodes; 0: unknown. What was not measured is taken from the
// nearest count that was, scaled by the fourth root of the ratio: mostly weights are read, whose
// time does not depend on the rows.
func (c *costs) decodeTime(rows int) float64 {
	for distance := range max(len(c.decode), rows+1) {
		for _, known := range [...]int{rows - distance, rows + distance} {
			if known > 0 && known < len(c.decode) && c.decode[known] > 0 {
				return c.decode[known] * math.Pow(float64(rows)/float64(known), 0.25)
			}
		}
	}
	return 0
}

// budget is how many prompt tokens a step may hold beside its decodes: a multiple of
// chunkMultiple unless most is less. factor scales what the latency target allows.
func (c *costs) budget(decodes, most int, target time.Duration, factor float64) int {
	var n float64
	if decodes == 0 {
		n = c.loneBudget()
	} else {
		n = c.sharedBudget(decodes, target.Seconds(), factor)
	}
	if n >= float64(most) {
		return roundDown(most)
	}
	return roundDown(int(n))
}

func (c *costs) loneBudget() float64 {
	if c.tokens == 0 {
		return unmeasuredChunk
	}
	n := (loneStepTime.Seconds() - c.decodeTime(1)) / c.perToken()
	return max(leastLoneChunk, min(n, max(unmeasuredChunk, growth*float64(c.longest))))
}

func (c *costs) sharedBudget(decodes int, target, factor float64) float64 {
	base := c.decodeTime(decodes)
	if c.tokens == 0 || base == 0 {
		return leastChunk
	}
	allowed := (min(target, decodeSlowdown*base) - base) / c.perToken()
	least := (leastSlowdown - 1) * base / c.perToken()
	return max(leastChunk, min(max(allowed*factor, least), growth*float64(c.longest)))
}

// perToken is the additional time per prompt token; never 0.
func (c *costs) perToken() float64 { return max(c.extra/c.tokens, 1e-9) }

func roundDown(n int) int {
	if n < chunkMultiple {
		return n
	}
	return n - n%chunkMultiple
}
