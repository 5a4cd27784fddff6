package gpu

import (
	"os"
	"strconv"
	"strings"

	"mlx-worker/internal/limits"
)

// availableMemoryBytes is the kernel's estimate of what can be had without swapping, as far as a
// container's limit leaves it, or 0.
func availableMemoryBytes() int64 {
	free := freeMemoryBytes()
	if container, limited := limits.ContainerMemory(); limited {
		free = min(free, container.Available)
	}
	return free
}

func freeMemoryBytes() int64 {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
