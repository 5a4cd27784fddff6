package gpu_test

import "testing"

// TestFamiliesInBatchesEqualSingleRuns is TestBatchEqualsSingleRuns for families whose attention
// has what llama's has not: capped scores, which mlx-lm cannot compute in batches, caches that
// layers share, and queries that depend on their position.
func TestFamiliesInBatchesEqualSingleRuns(t *testing.T) {
	tiny := readTinyModels(t)
	for _, name := range []string{"gemma2", "gemma4-text", "ministral3-sliding-window"} {
		t.Run(name, func(t *testing.T) {
			m, dir := tiny[name], t.TempDir()
			m.write(t, dir)
			compareSchedules(t, dir, 1)
		})
	}
}
