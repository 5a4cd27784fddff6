package sim

import (
	"fmt"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/envcfg"
)

// Sweep varies one knob.
type Sweep struct {
	Name  string
	About string
	// Machines by name; nil: all.
	Machines []string
	Settings func(m *Machine) []Setting
}

// Setting is one value of a knob on one trace.
type Setting struct {
	Trace  string
	Name   string
	X      float64
	Config batcher.Config
	Ahead  int
	Draw   func(g generator, n int) []arrival
	Share  int // the trace has one request in so many of the run's; 0: all
}

// fromEnv is the worker's configuration with these variables set, and a queue that holds the
// whole trace.
func fromEnv(variables map[string]string) batcher.Config {
	env, err := envcfg.Load(func(name string) (string, bool) {
		value, set := variables[name]
		return value, set
	})
	if err != nil {
		panic(err) // the variables are constants of this package
	}
	cfg := batcher.FromEnv(env)
	cfg.MaxQueue = 1 << 30
	return cfg
}

// base is the configuration that a sweep varies.
func base() batcher.Config { return fromEnv(nil) }

func serial() batcher.Config { return fromEnv(map[string]string{"MLX_GPU_SCHEDULER": "off"}) }

// with changes the base.
func with(change func(*batcher.Config)) batcher.Config {
	cfg := base()
	change(&cfg)
	return cfg
}

// Sweeps are all that TestSimulate runs.
var Sweeps = []Sweep{
	{"load", "arrivals per second, scheduler on and off", nil, loadSweep},
	{"rows", "row limit", nil, rowSweep},
	{"window", "window, fast path and adaptive window", nil, windowSweep},
	{"prefill", "prefill tokens of a step, with long prompts mixed in", nil, prefillSweep},
	{"target", "latency target under a load that comes and goes: degradation, auto-tuning", nil, targetSweep},
	{"ahead", "steps ahead", []string{"gpu-3b"}, aheadSweep},
}

func loadSweep(m *Machine) []Setting {
	var settings []Setting
	for _, rate := range m.Rates {
		draw := func(g generator, n int) []arrival { return g.poisson(n, rate) }
		trace := fmt.Sprintf("Poisson %g/s", rate)
		settings = append(settings,
			Setting{Trace: trace, Name: "on", X: rate, Config: base(), Ahead: m.StepsAhead, Draw: draw},
			Setting{Trace: trace, Name: "off", X: rate, Config: serial(), Ahead: m.StepsAhead, Draw: draw})
	}
	return settings
}

func rowSweep(m *Machine) []Setting {
	heavy := m.Rates[len(m.Rates)-1]
	var settings []Setting
	for _, rows := range []int{1, 2, 4, 8, 16, 24, 32} {
		cfg := with(func(c *batcher.Config) { c.MaxRows = rows })
		name := fmt.Sprint(rows)
		settings = append(settings,
			Setting{Trace: "all at once", Name: name, X: float64(rows), Config: cfg, Ahead: m.StepsAhead, Draw: generator.atOnce, Share: 5},
			Setting{Trace: "heavy", Name: name, X: float64(rows), Config: cfg, Ahead: m.StepsAhead, Draw: func(g generator, n int) []arrival { return g.poisson(n, heavy) }})
	}
	return settings
}

func windowSweep(m *Machine) []Setting {
	adaptive := fromEnv(map[string]string{"MLX_ADAPTIVE_WINDOW": "on"}).AdaptiveWindow
	knobs := []struct {
		name     string
		window   time.Duration
		fastPath bool
		adaptive *batcher.AdaptiveWindow
	}{
		{"none", 0, true, nil},
		{"0.75 ms", 750 * time.Microsecond, true, nil},
		{"1 ms", time.Millisecond, true, nil},
		{"2 ms", 2 * time.Millisecond, true, nil},
		{"5 ms", 5 * time.Millisecond, true, nil},
		{"adaptive", time.Millisecond, true, adaptive},
		{"1 ms, no fast path", time.Millisecond, false, nil},
		{"5 ms, no fast path", 5 * time.Millisecond, false, nil},
		{"adaptive, no fast path", time.Millisecond, false, adaptive},
	}
	var settings []Setting
	for i, k := range knobs {
		cfg := with(func(c *batcher.Config) { c.Window, c.FastPath, c.AdaptiveWindow = k.window, k.fastPath, k.adaptive })
		add := func(trace string, draw func(g generator, n int) []arrival) {
			settings = append(settings, Setting{Trace: trace, Name: k.name, X: float64(i), Config: cfg, Ahead: m.StepsAhead, Draw: draw, Share: 5})
		}
		add("lone", func(g generator, n int) []arrival { return g.lone(n, m.Apart) })
		// Frames that a client writes together, and requests that only happen to come together.
		add("bursts", func(g generator, n int) []arrival { return g.bursts(n, m.Apart, 20*time.Microsecond) })
		add("loose bursts", func(g generator, n int) []arrival { return g.bursts(n, m.Apart, 400*time.Microsecond) })
	}
	return settings
}

// longPrompts is a third of what the machine can serve, with long prompts mixed in.
func longPrompts(m *Machine) func(g generator, n int) []arrival {
	return func(g generator, n int) []arrival { return g.withLong(g.poisson(n, m.Rate*2/3)) }
}

func prefillSweep(m *Machine) []Setting {
	var settings []Setting
	for _, tokens := range []int{16, 32, 64, 128, 256, 512, 1024, 2048} {
		cfg := with(func(c *batcher.Config) { c.PrefillStepTokens = tokens })
		settings = append(settings, Setting{
			Trace: "long prompts", Name: fmt.Sprint(tokens), X: float64(tokens), Config: cfg, Ahead: m.StepsAhead, Draw: longPrompts(m),
		})
	}
	return settings
}

// wavePeriod is how long the load of the target sweep stays at one level, in mean arrivals.
const wavePeriod = 100

func targetSweep(m *Machine) []Setting {
	draw := func(g generator, n int) []arrival {
		period := time.Duration(wavePeriod / m.Rate * float64(time.Second))
		return g.wave(n, m.Rate*0.3, m.Rate*1.5, period)
	}
	var settings []Setting
	tune := fromEnv(map[string]string{"MLX_AUTO_TUNE": "on"}).AutoTune
	for _, target := range m.Targets {
		off := with(func(c *batcher.Config) { c.LatencyTarget = target })
		on := with(func(c *batcher.Config) {
			c.LatencyTarget = target
			c.AutoTune = tune
		})
		settings = append(settings,
			Setting{Trace: target.String(), Name: "off", X: ms(target), Config: off, Ahead: m.StepsAhead, Draw: draw},
			Setting{Trace: target.String(), Name: "on", X: ms(target), Config: on, Ahead: m.StepsAhead, Draw: draw})
	}
	return settings
}

func aheadSweep(m *Machine) []Setting {
	var settings []Setting
	for _, ahead := range []int{0, 1} {
		add := func(trace string, share int, draw func(g generator, n int) []arrival) {
			settings = append(settings, Setting{Trace: trace, Name: fmt.Sprint(ahead), X: float64(ahead), Config: base(), Ahead: ahead, Draw: draw, Share: share})
		}
		add("lone", 5, func(g generator, n int) []arrival { return g.lone(n, m.Apart) })
		add("Poisson", 1, func(g generator, n int) []arrival { return g.poisson(n, m.Rate) })
		add("all at once", 5, generator.atOnce)
	}
	return settings
}
