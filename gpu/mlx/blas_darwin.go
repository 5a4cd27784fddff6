package mlx

import "golang.org/x/sys/unix"

// loadBLAS does nothing: MLX links Accelerate.
func loadBLAS() error { return nil }

// setBLASThreads does nothing: Accelerate chooses its own threads.
func setBLASThreads(int) {}

func physicalMemoryBytes() int64 {
	size, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(size)
}
