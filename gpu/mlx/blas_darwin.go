package mlx

import "golang.org/x/sys/unix"

// loadBLAS does nothing: MLX links Accelerate.
func loadBLAS() error { return nil }

// setBLASThreads does nothing: Accelerate chooses its own threads.
func setBLASThreads(int) {}

// PhysicalMemoryBytes is the memory of the machine, or 0 if the system does not say.
func PhysicalMemoryBytes() int64 {
	size, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(size)
}
