package mlx

// #include <malloc.h>
import "C"

import "runtime/debug"

// Trim gives back to the system what Go and the C library keep of memory that was freed: megabytes
// after a load. It takes some milliseconds, may run on any goroutine and keeps no other from running
// for long.
func Trim() {
	debug.FreeOSMemory()
	C.malloc_trim(0)
}
