package mlx

// #include "blas_linux.h"
import "C"

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// loadBLAS makes products on the CPU possible, whatever the device.
func loadBLAS() error {
	if message := C.blas_load(); message != nil {
		return fmt.Errorf("mlx: OpenBLAS cannot be loaded: %s", C.GoString(message))
	}
	return nil
}

// setBLASThreads sets how many threads share a matrix product; 0: one per core.
func setBLASThreads(n int) {
	if n == 0 {
		n = runtime.NumCPU()
	}
	C.blas_set_threads(C.int(n))
}

// PhysicalMemoryBytes is the memory of the machine, or 0 if the system does not say.
func PhysicalMemoryBytes() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
