package mlx

import "runtime/debug"

// Trim gives back to the system what Go keeps of memory that was freed: megabytes after a load. It
// takes some milliseconds and may run on any goroutine.
func Trim() { debug.FreeOSMemory() }
