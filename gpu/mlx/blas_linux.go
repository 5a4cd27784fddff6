package mlx

// #include "cblas.h"
import "C"

import "golang.org/x/sys/unix"

// setBLASThreads bounds OpenBLAS's threads; 0 leaves one per core.
func setBLASThreads(n int) {
	if n > 0 {
		C.scipy_openblas_set_num_threads(C.int(n))
	}
}

func physicalMemoryBytes() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
