package envcfg

import (
	"slices"
	"strings"
)

// Load reads every variable through lookup (usually os.LookupEnv). A variable that is empty
// counts as absent. The error is an *Error for the first value that is not accepted.
func Load(lookup func(name string) (value string, ok bool)) (Config, error) {
	var c Config
	values := map[string]string{}
	for _, v := range Variables {
		value, ok := lookup(v.Name)
		if ok && value != "" {
			values[v.Name] = value
		} else if value = v.Default; value == "" {
			continue
		}
		if !v.set(&c, value) {
			return Config{}, &Error{Name: v.Name, Value: value, Accepts: v.Accepts}
		}
	}
	if err := c.check(values); err != nil {
		return Config{}, err
	}
	return c, nil
}

// check compares variables that bound one another. values holds those that are set.
func (c *Config) check(values map[string]string) error {
	s := &c.Scheduler
	for _, pair := range []struct {
		low, high string
		ok        bool
	}{
		{"MLX_AUTO_TUNE_MIN_BATCH", "MLX_AUTO_TUNE_MAX_BATCH", s.AutoTuneMinBatch <= s.AutoTuneMaxBatch},
		{"MLX_ADAPTIVE_WINDOW_LOW_MS", "MLX_ADAPTIVE_WINDOW_MEDIUM_MS", s.WindowLow <= s.WindowMedium},
		{"MLX_ADAPTIVE_WINDOW_MEDIUM_MS", "MLX_ADAPTIVE_WINDOW_HIGH_MS", s.WindowMedium <= s.WindowHigh},
	} {
		if pair.ok {
			continue
		}
		// Blame the one that was set; both: the higher one.
		if value, set := values[pair.high]; set {
			return &Error{pair.high, value, "at least " + pair.low + ", which is " + valueOf(pair.low, values)}
		}
		return &Error{pair.low, values[pair.low], "at most " + pair.high + ", which is " + valueOf(pair.high, values)}
	}
	return nil
}

func valueOf(name string, values map[string]string) string {
	if value, set := values[name]; set {
		return value
	}
	i := slices.IndexFunc(Variables, func(v Variable) bool { return v.Name == name })
	return Variables[i].Default
}

// others are variables with our prefix that belong to MLX itself, to the client or to the build.
var others = []string{
	"MLX_BFS_MAX_WIDTH", "MLX_C_PREFIX", "MLX_DISABLE_COMPILE", "MLX_ENABLE_TF32", "MLX_HOSTFILE",
	"MLX_MAX_MB_PER_BUFFER", "MLX_MAX_OPS_PER_BUFFER", "MLX_MPI_LIBNAME", "MLX_NCCL_TIMEOUT", "MLX_PTX_CACHE_DIR",
	"MLX_RANK", "MLX_RING_VERBOSE", "MLX_USE_CUDA_GRAPHS", "MLX_WORKER_PATH",
}

var otherPrefixes = []string{"MLX_CUDA_", "MLX_METAL_", "MLX_RESIDENCY_"}

// Unknown returns the names in environ (as os.Environ gives it) that look like the worker's
// but are not in the table: probably misspelt, and worth a warning.
func Unknown(environ []string) []string {
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "MLX_") || slices.Contains(others, name) ||
			slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) ||
			slices.ContainsFunc(Variables, func(v Variable) bool { return v.Name == name }) {
			continue
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}
