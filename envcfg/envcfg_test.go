package envcfg_test

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mlx-worker/envcfg"
)

func load(env map[string]string) (envcfg.Config, error) {
	return envcfg.Load(func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
}

func TestDefaults(t *testing.T) {
	want := envcfg.Config{
		Scheduler: envcfg.Scheduler{
			Enabled: true, BatchSize: 16, Window: time.Millisecond, P99Threshold: 250 * time.Millisecond, FastPath: true,
			WindowLow: 750 * time.Microsecond, WindowMedium: time.Millisecond, WindowHigh: 2 * time.Millisecond,
			AutoTuneMinBatch: 2, AutoTuneMaxBatch: 16, AutoTuneEMAAlpha: 0.3, AutoTuneInterval: 10,
			MaxQueue: 1000, PrefillStepTokens: 2048,
		},
		Metrics: envcfg.Metrics{Port: 9090},
		Wire:    envcfg.Wire{MaxFrameBytes: 64 << 20},
		Log:     envcfg.Log{Format: "text", Level: "info"},
		Device:  envcfg.Device{Kind: "auto", MemoryLimitBytes: envcfg.Auto, CacheLimitBytes: envcfg.Auto, CPUDenseWeights: "auto", CPUKernels: "auto"},
	}
	got, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Each accepted value must reach a field: no two of them, nor the default, give the same Config.
var accepted = map[string][]string{
	"MLX_GPU_SCHEDULER":                  {"off", "OFF"},
	"MLX_GPU_SCHEDULER_BATCH_SIZE":       {"1", "64"},
	"MLX_GPU_SCHEDULER_WINDOW_MS":        {"0.75", "5", "2.5"},
	"MLX_GPU_SCHEDULER_P99_THRESHOLD_MS": {"20", "5000"},
	"MLX_FAST_PATH":                      {"off", "Off"},
	"MLX_ADAPTIVE_WINDOW":                {"on", "oN"},
	"MLX_ADAPTIVE_WINDOW_LOW_MS":         {"0.5", "1"},
	"MLX_ADAPTIVE_WINDOW_MEDIUM_MS":      {"0.75", "2"},
	"MLX_ADAPTIVE_WINDOW_HIGH_MS":        {"1", "5"},
	"MLX_AUTO_TUNE":                      {"on", "ON"},
	"MLX_AUTO_TUNE_MIN_BATCH":            {"1", "8"},
	"MLX_AUTO_TUNE_MAX_BATCH":            {"2", "64"},
	"MLX_AUTO_TUNE_EMA_ALPHA":            {"0.1", "0.9"},
	"MLX_AUTO_TUNE_INTERVAL":             {"5", "20"},
	"MLX_MAX_QUEUE":                      {"1", "100000"},
	"MLX_PREFILL_STEP_TOKENS":            {"16", "65536"},
	"MLX_METRICS_EXPORT":                 {"on", "ON"},
	"MLX_METRICS_PORT":                   {"1024", "65535"},
	"MLX_MAX_FRAME_BYTES":                {"65536", "1073741824"},
	"MLX_LOG_FORMAT":                     {"json", "JSON"},
	"MLX_LOG_LEVEL":                      {"debug", "warn", "error"},
	"MLX_MODELS_DIR":                     {"/models", "~/models"},
	"HF_HUB_CACHE":                       {"/cache"},
	"HF_HOME":                            {"/hf"},
	"MLX_DEVICE":                         {"cpu", "gpu"},
	"MLX_MEMORY_LIMIT_BYTES":             {"0", "8589934592"},
	"MLX_CACHE_LIMIT_BYTES":              {"0", "1073741824"},
	"MLX_CPU_THREADS":                    {"1", "1024"},
	"MLX_CPU_DENSE_WEIGHTS":              {"on", "off"},
	"MLX_CPU_KERNELS":                    {"off"},
}

// Values outside each variable's range, or of another form.
var refused = map[string][]string{
	"MLX_GPU_SCHEDULER_BATCH_SIZE":       {"0", "65", "4.0"},
	"MLX_GPU_SCHEDULER_WINDOW_MS":        {"0.74", "5.01", "1ms", "NaN", "Inf"},
	"MLX_GPU_SCHEDULER_P99_THRESHOLD_MS": {"19", "5001"},
	"MLX_ADAPTIVE_WINDOW_LOW_MS":         {"0.4", "2.1"},
	"MLX_ADAPTIVE_WINDOW_MEDIUM_MS":      {"0.7", "3.1"},
	"MLX_ADAPTIVE_WINDOW_HIGH_MS":        {"0.9", "5.1"},
	"MLX_AUTO_TUNE_MIN_BATCH":            {"0", "65"},
	"MLX_AUTO_TUNE_MAX_BATCH":            {"0", "65"},
	"MLX_AUTO_TUNE_EMA_ALPHA":            {"0.09", "0.91", "nan"},
	"MLX_AUTO_TUNE_INTERVAL":             {"4", "21"},
	"MLX_MAX_QUEUE":                      {"0", "100001", "-1"},
	"MLX_PREFILL_STEP_TOKENS":            {"15", "65537"},
	"MLX_METRICS_PORT":                   {"80", "65536"},
	"MLX_MAX_FRAME_BYTES":                {"65535", "1073741825", "64MiB"},
	"MLX_LOG_FORMAT":                     {"xml"},
	"MLX_LOG_LEVEL":                      {"trace"},
	"MLX_MODELS_DIR":                     {"a\x00b"},
	"HF_HUB_CACHE":                       {"a\x00b"},
	"HF_HOME":                            {"a\x00b"},
	"MLX_DEVICE":                         {"tpu"},
	"MLX_MEMORY_LIMIT_BYTES":             {"-1", "1e9", "1125899906842625", "99999999999999999999"},
	"MLX_CACHE_LIMIT_BYTES":              {"-1", "all"},
	"MLX_CPU_THREADS":                    {"-1", "1025"},
	"MLX_CPU_DENSE_WEIGHTS":              {"yes"},
	"MLX_CPU_KERNELS":                    {"sse"},
}

func TestEveryVariable(t *testing.T) {
	defaults, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range envcfg.Variables {
		t.Run(v.Name, func(t *testing.T) {
			if len(accepted[v.Name]) == 0 {
				t.Fatal("no accepted value is tested")
			}
			seen := map[envcfg.Config]string{defaults: "the default"}
			for _, value := range accepted[v.Name] {
				c, err := load(map[string]string{v.Name: value})
				if err != nil {
					t.Errorf("%s: %v", value, err)
					continue
				}
				if other, same := seen[c]; same && !strings.EqualFold(other, value) {
					t.Errorf("%s gives the same configuration as %s", value, other)
				}
				seen[c] = value
			}
			bad := refused[v.Name]
			if v.Type == "on/off" {
				bad = []string{"true", "1", "yes", " on"}
			}
			if len(bad) == 0 {
				t.Fatal("no refused value is tested")
			}
			if v.Type != "path" {
				bad = append(slices.Clone(bad), "nonsense")
			}
			for _, value := range bad {
				_, err := load(map[string]string{v.Name: value})
				var e *envcfg.Error
				if !errors.As(err, &e) || e.Name != v.Name || e.Value != value || e.Accepts != v.Accepts {
					t.Errorf("%q: error %v", value, err)
				} else if text := e.Error(); !strings.Contains(text, v.Name) || !strings.Contains(text, strconv.Quote(value)) || !strings.Contains(text, v.Accepts) || strings.Contains(text, "\n") {
					t.Errorf("error %q", text)
				}
			}
			if v.Default != "" {
				if c, err := load(map[string]string{v.Name: v.Default}); err != nil || c != defaults {
					t.Errorf("the written default %q: %+v, %v", v.Default, c, err)
				}
			}
			if c, err := load(map[string]string{v.Name: ""}); err != nil || c != defaults {
				t.Errorf("empty: %+v, %v", c, err)
			}
		})
	}
}

func TestBoundsBetweenVariables(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"MLX_ADAPTIVE_WINDOW_LOW_MS": "2"}, `MLX_ADAPTIVE_WINDOW_LOW_MS="2": accepted is at most MLX_ADAPTIVE_WINDOW_MEDIUM_MS, which is 1`},
		{map[string]string{"MLX_ADAPTIVE_WINDOW_HIGH_MS": "1", "MLX_ADAPTIVE_WINDOW_MEDIUM_MS": "3"}, `MLX_ADAPTIVE_WINDOW_HIGH_MS="1": accepted is at least MLX_ADAPTIVE_WINDOW_MEDIUM_MS, which is 3`},
		{map[string]string{"MLX_AUTO_TUNE_MAX_BATCH": "4", "MLX_AUTO_TUNE_MIN_BATCH": "8"}, `MLX_AUTO_TUNE_MAX_BATCH="4": accepted is at least MLX_AUTO_TUNE_MIN_BATCH, which is 8`},
	} {
		if _, err := load(c.env); err == nil || err.Error() != c.want {
			t.Errorf("%v: error %v, want %s", c.env, err, c.want)
		}
	}
}

func TestHelpAndMarkdownHoldEveryVariable(t *testing.T) {
	var help strings.Builder
	if err := envcfg.WriteHelp(&help); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(envcfg.Markdown()), "\n")[2:]
	if len(rows) != len(envcfg.Variables) {
		t.Fatalf("%d rows for %d variables", len(rows), len(envcfg.Variables))
	}
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	for i, v := range envcfg.Variables {
		if !name.MatchString(v.Name) || v.Doc == "" || strings.Contains(v.Doc+v.Accepts, "|") {
			t.Errorf("row %d is not sound: %+v", i, v)
		}
		for _, part := range []string{v.Name, v.Doc, v.Accepts, v.Default} {
			if !strings.Contains(help.String(), part) || !strings.Contains(rows[i], part) {
				t.Errorf("%s: %q is missing in --help or in the table", v.Name, part)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	got := envcfg.Unknown([]string{"PATH=/bin", "MLX_GPU_SCHEDLER=off", "MLX_FAST_PATH=on", "MLX_METAL_FAST_SYNCH=1", "MLX_WORKER_PATH=x", "MLX_AUTOTUNE=", "HF_TOKEN=x"})
	if want := []string{"MLX_AUTOTUNE", "MLX_GPU_SCHEDLER"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
