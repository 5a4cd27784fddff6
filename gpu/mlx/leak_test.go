package mlx_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"mlx-worker/gpu/mlx"
)

// residentBytes reads the process's resident set size, or 0 where /proc has none.
func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

func TestScopesLeakNothing(t *testing.T) {
	const scopes, allowedGrowth = 10_000, 16 << 20
	cycle := func(i int) error {
		_, err := compute(func(s *mlx.Scope) mlx.Array {
			a := s.RandomNormal(s.RandomKey(uint64(i), 0), 16, 64)
			if i%10 == 0 { // failures must not leak either
				s.MatMul(a, a)
				return a
			}
			return s.MatMul(a, s.Transpose(a, 1, 0))
		})
		if i%10 == 0 && err == nil {
			return fmt.Errorf("scope %d: the failing product did not fail", i)
		}
		if i%10 != 0 {
			return err
		}
		return nil
	}
	onThread(t, func() error {
		for i := range scopes / 10 { // settle allocator and caches
			if err := cycle(i); err != nil {
				return err
			}
		}
		before, err := rt.Memory()
		if err != nil {
			return err
		}
		rss := residentBytes()
		for i := range scopes {
			if err := cycle(i); err != nil {
				return err
			}
		}
		after, err := rt.Memory()
		if err != nil {
			return err
		}
		if after.Active != before.Active {
			return fmt.Errorf("active memory grew from %d to %d bytes over %d scopes", before.Active, after.Active, scopes)
		}
		if growth := residentBytes() - rss; growth > allowedGrowth {
			return fmt.Errorf("resident memory grew by %d bytes over %d scopes, at most %d is noise", growth, scopes, allowedGrowth)
		}
		t.Logf("active %d bytes before and after; resident %d -> %d bytes", after.Active, rss, residentBytes())
		return nil
	})
}
