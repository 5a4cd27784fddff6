package sim

import (
	"testing"

	"mlx-worker/batcher"
)

func TestMoreRowsGiveMore(t *testing.T) {
	for i := range Machines {
		m := &Machines[i]
		run := func(rows int) float64 {
			cfg := with(func(c *batcher.Config) { c.MaxRows = rows })
			records, figures := simulate(t, m, Setting{Config: cfg, Ahead: m.StepsAhead, Draw: generator.atOnce}, 1, smallTrace)
			return newPoint(records, figures).TokensPerSecond
		}
		if few, many := run(16), run(32); many < 1.05*few {
			t.Errorf("%s: %.0f tok/s with 32 rows, %.0f with 16", m.Name, many, few)
		}
	}
}
