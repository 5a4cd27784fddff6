package sim

import "time"

// Machine is a cost model of one model on one machine.
type Machine struct {
	Name  string `json:"name"`
	About string `json:"about"` // what the figures are of

	// StepsAhead is Engine.StepsAhead.
	StepsAhead int `json:"stepsAhead"`
	// Host is what the host does for a step before the device can start it: planning, building
	// and launching the graph. A step ahead hides it behind the step under way.
	Host time.Duration `json:"hostNs"`

	// Decode is the device time of a decode-only step by number of rows, ascending; between two
	// entries it is linear, beyond the last one it grows as before it.
	Decode []DecodeTime `json:"decode"`
	// DecodeContext is added per decode row and 1000 tokens of its context.
	DecodeContext time.Duration `json:"decodeContextNs"`

	// Prefill is the time of a prefill chunk's token, PrefillContext what is added to it per 1000
	// tokens of context before it, PrefillChunk what a chunk costs beside its tokens. A step
	// without decode rows costs PrefillAlone more.
	Prefill        time.Duration `json:"prefillNs"`
	PrefillContext time.Duration `json:"prefillContextNs"`
	PrefillChunk   time.Duration `json:"prefillChunkNs"`
	PrefillAlone   time.Duration `json:"prefillAloneNs"`

	// Rates are arrivals per second for the sweep over load, up to three quarters of what the
	// machine can serve with 16 rows; Rate, about half of it, is what other sweeps go by.
	Rates []float64 `json:"rates"`
	Rate  float64   `json:"rate"`
	// Apart is longer than any request takes alone.
	Apart time.Duration `json:"apartNs"`
	// Targets are the values of the sweep over the latency target.
	Targets []time.Duration `json:"targetsNs"`
}

// DecodeTime is one known point.
type DecodeTime struct {
	Rows int           `json:"rows"`
	Time time.Duration `json:"timeNs"`
}

// Machines are the cost models: of the order of real machines, not measurements of one.
var Machines = []Machine{
	{
		Name:  "cpu-2core-smollm2",
		About: "SmolLM2-135M, float32, 2 cores of an AMD EPYC: rows and prompt tokens near what an earlier build was measured with, the rest estimated",
		Decode: []DecodeTime{
			{1, 37 * time.Millisecond}, {4, 52 * time.Millisecond}, {8, 63 * time.Millisecond},
			{16, 78 * time.Millisecond}, {32, 110 * time.Millisecond},
		},
		DecodeContext:  4 * time.Millisecond,
		Prefill:        2 * time.Millisecond,
		PrefillContext: 600 * time.Microsecond,
		PrefillChunk:   2 * time.Millisecond,
		PrefillAlone:   15 * time.Millisecond,
		Rates:          []float64{0.1, 0.2, 0.3, 0.5, 0.8, 1.1, 1.4, 1.7},
		Rate:           1.1,
		Apart:          20 * time.Second,
		Targets:        milliseconds(50, 75, 100, 150, 200, 250, 500),
	},
	{
		Name:       "gpu-3b",
		About:      "a 3B model in 4 bit on a GPU with 400 GB/s: all figures estimated",
		StepsAhead: 1,
		Host:       time.Millisecond,
		Decode: []DecodeTime{
			{1, 4600 * time.Microsecond}, {32, 7700 * time.Microsecond},
		},
		DecodeContext:  200 * time.Microsecond,
		Prefill:        120 * time.Microsecond,
		PrefillContext: 8 * time.Microsecond,
		PrefillChunk:   300 * time.Microsecond,
		PrefillAlone:   2 * time.Millisecond,
		Rates:          []float64{1, 2, 3, 6, 10, 14, 18, 22},
		Rate:           14,
		Apart:          2 * time.Second,
		Targets:        milliseconds(5, 7.5, 10, 12.5, 15, 25, 50),
	},
}

func milliseconds(values ...float64) []time.Duration {
	out := make([]time.Duration, len(values))
	for i, v := range values {
		out[i] = time.Duration(v * float64(time.Millisecond))
	}
	return out
}

// work is what a step does, as far as its time depends on it.
type work struct {
	decodes       int // rows
	decodeContext int // tokens, of all decode rows together
	chunks        int // prefill chunks
	tokens        int // of all chunks together
	// tokenContext is the sum over chunk tokens of the tokens before them.
	tokenContext int
}

// add counts a row with so many tokens of context before it; tokens is 0 for a decode.
func (w *work) add(context, tokens int) {
	if tokens == 0 {
		w.decodes++
		w.decodeContext += context
		return
	}
	w.chunks++
	w.tokens += tokens
	w.tokenContext += tokens*context + tokens*(tokens-1)/2
}

// stepTime is the device time of a step.
func (m *Machine) stepTime(w work) time.Duration {
	t := m.PrefillAlone
	if w.decodes > 0 {
		t = m.decodeTime(w.decodes)
	}
	t += perThousand(m.DecodeContext, w.decodeContext)
	t += time.Duration(w.chunks) * m.PrefillChunk
	t += time.Duration(w.tokens) * m.Prefill
	t += perThousand(m.PrefillContext, w.tokenContext)
	return t
}

func perThousand(cost time.Duration, n int) time.Duration { return cost * time.Duration(n) / 1000 }

// decodeTime interpolates Decode.
func (m *Machine) decodeTime(rows int) time.Duration {
	points := m.Decode
	at := 1
	for at < len(points)-1 && points[at].Rows < rows {
		at++
	}
	a, b := points[at-1], points[at]
	return a.Time + (b.Time-a.Time)*time.Duration(rows-a.Rows)/time.Duration(b.Rows-a.Rows)
}
