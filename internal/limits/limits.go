// Package limits says how much of the machine the process may use: what a container leaves of its
// cores and of its memory. Only Linux has containers that the process can ask about.
package limits

import (
	"io/fs"
	"os"
	"runtime"
)

// cores is taken before anything changes GOMAXPROCS.
var cores = runtime.GOMAXPROCS(0)

// Cores is on how many cores the process is to compute: those that it may run on, or what a
// container's CPU quota comes to if that is less (at least 2), or GOMAXPROCS if the user set it. Go
// works that out when it starts.
func Cores() int { return cores }

// goroutinesBesideC is how many threads may run Go beside as many as there are cores.
const goroutinesBesideC = 4

// RaiseProcs lets more threads run Go than there are cores, unless the user said how many. A thread
// that comes back from C needs one of GOMAXPROCS places. If goroutines that compute hold all of
// them, as while a model is loaded, it waits for up to 10 ms at every call, though the kernel would
// give it a core at once: it is the MLX thread, and a decode step makes hundreds of calls.
func RaiseProcs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cores + goroutinesBesideC)
	}
}

// Memory is a container's limit in bytes.
type Memory struct {
	Limit     int64
	Available int64 // of it, what can be had without anything being killed
}

// ContainerMemory returns the tightest memory limit that the process is under; ok is false if there
// is none.
func ContainerMemory() (m Memory, ok bool) { return containerMemory(os.DirFS("/")) }

func containerMemory(root fs.FS) (tightest Memory, ok bool) {
	for _, h := range hierarchies(root) {
		for _, dir := range h.dirs {
			m, limited := h.read(root, dir)
			if !limited {
				continue
			}
			if !ok {
				tightest, ok = m, true
			}
			tightest.Limit = min(tightest.Limit, m.Limit)
			tightest.Available = min(tightest.Available, m.Available)
		}
	}
	return tightest, ok
}
