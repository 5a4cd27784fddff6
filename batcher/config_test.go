package batcher

import (
	"reflect"
	"testing"
	"time"

	"mlx-worker/envcfg"
)

func fromEnv(t *testing.T, env map[string]string) Config {
	t.Helper()
	parsed, err := envcfg.Load(func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return FromEnv(parsed)
}

func TestFromEnv(t *testing.T) {
	got := fromEnv(t, map[string]string{
		"MLX_MAX_QUEUE": "7", "MLX_PREFILL_STEP_TOKENS": "64", "MLX_GPU_SCHEDULER_BATCH_SIZE": "5",
		"MLX_GPU_SCHEDULER_WINDOW_MS": "3", "MLX_FAST_PATH": "off", "MLX_GPU_SCHEDULER_P99_THRESHOLD_MS": "80",
		"MLX_ADAPTIVE_WINDOW": "on", "MLX_ADAPTIVE_WINDOW_LOW_MS": "0.5", "MLX_ADAPTIVE_WINDOW_MEDIUM_MS": "1.5", "MLX_ADAPTIVE_WINDOW_HIGH_MS": "4",
		"MLX_AUTO_TUNE": "on", "MLX_AUTO_TUNE_MIN_BATCH": "3", "MLX_AUTO_TUNE_MAX_BATCH": "9",
		"MLX_AUTO_TUNE_EMA_ALPHA": "0.5", "MLX_AUTO_TUNE_INTERVAL": "12",
	})
	want := Config{
		MaxQueue: 7, PrefillStepTokens: 64, MaxRows: 5, Window: 3 * time.Millisecond, LatencyTarget: 80 * time.Millisecond,
		AdaptiveWindow: &AdaptiveWindow{Low: 500 * time.Microsecond, Medium: 1500 * time.Microsecond, High: 4 * time.Millisecond},
		AutoTune:       &AutoTune{MinRows: 3, MaxRows: 9, Alpha: 0.5, Interval: 12},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.mostRows() != 9 || got.firstRows() != 5 {
		t.Errorf("rows: %d at most, %d first", got.mostRows(), got.firstRows())
	}
}

func TestSchedulerOffIsSerial(t *testing.T) {
	got := fromEnv(t, map[string]string{"MLX_GPU_SCHEDULER": "off", "MLX_ADAPTIVE_WINDOW": "on", "MLX_AUTO_TUNE": "on", "MLX_FAST_PATH": "off"})
	if got.MaxRows != 1 || got.Window != 0 || !got.FastPath || got.AdaptiveWindow != nil || got.AutoTune != nil || got.mostRows() != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDefaults(t *testing.T) {
	got := Config{}.withDefaults()
	got.Logger = nil
	want := Config{MaxQueue: 1000, MaxRows: 16, PrefillStepTokens: 2048, LatencyTarget: 250 * time.Millisecond, AgeingInterval: 5 * time.Second}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, c := range []struct {
		tune        AutoTune
		rows        int
		most, first int
	}{
		{AutoTune{MinRows: 2, MaxRows: 8}, 16, 8, 8}, {AutoTune{MinRows: 2, MaxRows: 8}, 1, 8, 2},
		{AutoTune{}, 16, 1, 1}, {AutoTune{MinRows: 4, MaxRows: 3}, 16, 4, 4},
	} {
		got := Config{MaxRows: c.rows, AutoTune: &c.tune}.withDefaults()
		if got.mostRows() != c.most || got.firstRows() != c.first || got.AutoTune.Interval < 1 {
			t.Errorf("%+v: %+v", c, got.AutoTune)
		}
	}
}
