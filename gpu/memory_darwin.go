package gpu

import "golang.org/x/sys/unix"

// availableMemoryBytes is the physical memory: macOS names no figure of what is free that
// would count what it can reclaim.
func availableMemoryBytes() int64 {
	size, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(size)
}
