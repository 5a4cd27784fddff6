package sim

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mlx-worker/batcher"
)

// Flags of TestSimulate: go test -run '^TestSimulate$' ./bench/sim -args -out FILE
var (
	outFile  = flag.String("out", "", "write the results of TestSimulate as JSON to this file; without it, it is skipped")
	requests = flag.Int("requests", 10000, "requests of a trace in TestSimulate")
	sweeps   = flag.String("sweeps", "", "names of the sweeps to run, with commas between them; default: all")
	seed     = flag.Uint64("seed", 1, "seed of the traces")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// One processor: a bubble has one goroutine awake at a time anyway, and switching is cheaper.
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// simulate replays a setting's trace in a bubble.
func simulate(t *testing.T, m *Machine, s Setting, seed uint64, n int) ([]record, batcher.Snapshot) {
	t.Helper()
	var records []record
	var figures batcher.Snapshot
	trace := s.Draw(newGenerator(seed), n)
	synctest.Test(t, func(t *testing.T) {
		var err error
		if records, figures, err = replay(m, s.Ahead, s.Config, trace); err != nil {
			t.Fatal(err)
		}
	})
	return records, figures
}

// result is the JSON of TestSimulate.
type result struct {
	Machines []Machine `json:"machines"`
	Sweeps   []about   `json:"sweeps"`
	Requests int       `json:"requests"`
	Seed     uint64    `json:"seed"`
	Points   []Point   `json:"points"`
}

type about struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// TestSimulate runs the sweeps. It is a program more than a test: it fails only if a request
// does not complete.
func TestSimulate(t *testing.T) {
	if *outFile == "" {
		t.Skip("no -out")
	}
	wanted := map[string]bool{}
	if *sweeps != "" {
		for _, name := range strings.Split(*sweeps, ",") {
			if !slices.ContainsFunc(Sweeps, func(s Sweep) bool { return s.Name == name }) {
				t.Fatalf("-sweeps: there is no %q", name)
			}
			wanted[name] = true
		}
	}
	all := result{Machines: Machines, Requests: *requests, Seed: *seed}
	for _, sweep := range Sweeps {
		if len(wanted) > 0 && !wanted[sweep.Name] {
			continue
		}
		all.Sweeps = append(all.Sweeps, about{sweep.Name, sweep.About})
		for i := range Machines {
			m := &Machines[i]
			if sweep.Machines != nil && !slices.Contains(sweep.Machines, m.Name) {
				continue
			}
			for _, setting := range sweep.Settings(m) {
				all.Points = append(all.Points, runSetting(t, sweep, m, setting))
			}
		}
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*outFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runSetting(t *testing.T, sweep Sweep, m *Machine, s Setting) Point {
	t.Helper()
	start := time.Now()
	records, figures := simulate(t, m, s, *seed, *requests/max(1, s.Share))
	checkComplete(t, records)
	p := newPoint(records, figures)
	p.Sweep, p.Machine, p.Trace, p.Setting, p.X = sweep.Name, m.Name, s.Trace, s.Name, s.X
	t.Logf("%-8s %-18s %-20s %-22s %8.1f tok/s, TTFT P95 %8.1f, inter-token P50 %6.1f P99 %6.1f ms, %5.2f rows, %d steps; %.0f s in %.1f s",
		p.Sweep, p.Machine, p.Trace, p.Setting, p.TokensPerSecond, p.TTFT.P95, p.InterToken.P50, p.InterToken.P99, p.MeanRows, p.Steps,
		p.Seconds, time.Since(start).Seconds())
	return p
}

// checkComplete: every request has all its tokens, in time's order, and its own figures.
func checkComplete(t *testing.T, records []record) {
	t.Helper()
	for i, r := range records {
		if r.finish.Reason != batcher.FinishStop || len(r.tokens) != r.arrival.completion || r.finish.Stats.CompletionTokens != len(r.tokens) {
			t.Fatalf("request %d ended with %q (%v) after %d of %d tokens", i, r.finish.Reason, r.finish.Err, len(r.tokens), r.arrival.completion)
		}
		at := r.submitted
		for _, token := range append(r.tokens, r.done) {
			if token < at {
				t.Fatalf("request %d: a token at %v after one at %v", i, token, at)
			}
			at = token
		}
		if want := r.tokens[0] - r.submitted; r.finish.Stats.TTFT != want {
			t.Fatalf("request %d: TTFT %v, the client saw %v", i, r.finish.Stats.TTFT, want)
		}
		if r.finish.Stats.Queue > r.finish.Stats.TTFT {
			t.Fatalf("request %d waited %v of a TTFT of %v", i, r.finish.Stats.Queue, r.finish.Stats.TTFT)
		}
	}
}

// mixed is a trace with long prompts and all priorities at a load that the machine can't quite
// serve, so that requests wait.
func mixed(m *Machine) func(g generator, n int) []arrival {
	return func(g generator, n int) []arrival { return g.withPriorities(g.withLong(g.poisson(n, m.Rate*1.5))) }
}

const smallTrace = 500

// configurations are those that the tests below go through.
func configurations() map[string]batcher.Config {
	return map[string]batcher.Config{
		"base":   base(),
		"serial": serial(),
		"tuned": with(func(c *batcher.Config) {
			c.AutoTune = &batcher.AutoTune{MinRows: 2, MaxRows: 16, Alpha: 0.3, Interval: 10}
			c.LatencyTarget = 50 * time.Millisecond
		}),
		"degraded": with(func(c *batcher.Config) { c.LatencyTarget = 10 * time.Millisecond }),
		"windows": with(func(c *batcher.Config) {
			c.FastPath = false
			c.AdaptiveWindow = &batcher.AdaptiveWindow{Low: time.Millisecond, Medium: 2 * time.Millisecond, High: 5 * time.Millisecond}
		}),
	}
}

// TestAllComplete replays a demanding trace with every kind of setting on every machine.
func TestAllComplete(t *testing.T) {
	for i := range Machines {
		for name, cfg := range configurations() {
			t.Run(Machines[i].Name+"/"+name, func(t *testing.T) {
				m := &Machines[i]
				records, figures := simulate(t, m, Setting{Config: cfg, Ahead: m.StepsAhead, Draw: mixed(m)}, 7, smallTrace)
				checkComplete(t, records)
				if figures.Completed != smallTrace || figures.Submitted != smallTrace || figures.Rejected+figures.Failed != 0 {
					t.Errorf("figures %+v", figures)
				}
			})
		}
	}
}

// TestNoStarvation: whoever arrives when another has waited for two ageing intervals does not
// start before it, whatever their priorities.
func TestNoStarvation(t *testing.T) {
	for i := range Machines {
		t.Run(Machines[i].Name, func(t *testing.T) {
			m := &Machines[i]
			ageing := time.Duration(3 / m.Rate * float64(time.Second))
			cfg := with(func(c *batcher.Config) { c.AgeingInterval = ageing })
			records, _ := simulate(t, m, Setting{Config: cfg, Ahead: m.StepsAhead, Draw: mixed(m)}, 3, smallTrace)
			started := func(r record) time.Duration { return r.submitted + r.finish.Stats.Queue }
			waits := 0
			for _, r := range records {
				if r.finish.Stats.Queue > 2*ageing {
					waits++
				}
				for _, other := range records {
					if other.submitted > r.submitted+2*ageing && started(other) < started(r) {
						t.Fatalf("a request of priority %d from %v started at %v, one of priority %d from %v at %v",
							r.arrival.priority, r.submitted, started(r), other.arrival.priority, other.submitted, started(other))
					}
				}
			}
			if waits == 0 {
				t.Error("no request waited long enough to be starved: the trace tests nothing")
			}
		})
	}
}

// TestReproducible: two runs are equal to the nanosecond.
func TestReproducible(t *testing.T) {
	for i := range Machines {
		t.Run(Machines[i].Name, func(t *testing.T) {
			m := &Machines[i]
			for name, cfg := range configurations() {
				s := Setting{Config: cfg, Ahead: m.StepsAhead, Draw: mixed(m)}
				one, oneFigures := simulate(t, m, s, 5, smallTrace/2)
				two, twoFigures := simulate(t, m, s, 5, smallTrace/2)
				if !reflect.DeepEqual(newPoint(one, oneFigures), newPoint(two, twoFigures)) {
					t.Errorf("%s: two runs differ:\n%+v\n%+v", name, newPoint(one, oneFigures), newPoint(two, twoFigures))
				}
				for j := range one {
					if !slices.Equal(one[j].tokens, two[j].tokens) {
						t.Fatalf("%s: request %d got its tokens at other times", name, j)
					}
				}
			}
		})
	}
}

// TestSharingPays: with the same requests all at once, rows that share steps give more tokens a
// second than one at a time, as the cost model says they must.
func TestSharingPays(t *testing.T) {
	for i := range Machines {
		m := &Machines[i]
		run := func(cfg batcher.Config) float64 {
			records, figures := simulate(t, m, Setting{Config: cfg, Ahead: m.StepsAhead, Draw: generator.atOnce}, 1, smallTrace/5)
			return newPoint(records, figures).TokensPerSecond
		}
		if shared, alone := run(base()), run(serial()); shared < 3*alone {
			t.Errorf("%s: %.0f tok/s shared, %.0f alone", m.Name, shared, alone)
		}
	}
}

func TestStepTime(t *testing.T) {
	m := &Machines[0]
	for _, test := range []struct {
		rows int
		want time.Duration
	}{
		{1, 37 * time.Millisecond}, {4, 52 * time.Millisecond}, {6, 57500 * time.Microsecond},
		{32, 110 * time.Millisecond}, {48, 142 * time.Millisecond},
	} {
		if got := m.decodeTime(test.rows); got != test.want {
			t.Errorf("%d rows take %v, want %v", test.rows, got, test.want)
		}
	}
	w := work{}
	w.add(1000, 0)
	w.add(0, 100)
	want := m.decodeTime(1) + m.DecodeContext + m.PrefillChunk + 100*m.Prefill + m.PrefillContext*4950/1000
	if got := m.stepTime(w); got != want {
		t.Errorf("a step takes %v, want %v", got, want)
	}
	alone := work{}
	alone.add(0, 10)
	if got, want := m.stepTime(alone), m.PrefillAlone+m.PrefillChunk+10*m.Prefill+perThousand(m.PrefillContext, 45); got != want {
		t.Errorf("a prefill alone takes %v, want %v", got, want)
	}
}
