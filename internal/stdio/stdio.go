// Package stdio takes the process's standard input and output for a protocol, so that
// nothing else in the process can write into it.
package stdio

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Claim returns the standard input, and the standard output under a descriptor of its own,
// which child processes do not inherit. Descriptor 1 is standard error from then on: what
// libraries print, from C too, goes there. Call it once, before anything else.
//
// Close wakes a Read of an input that is a pipe or a socket; a Read of a terminal goes on.
func Claim() (in, out *os.File, err error) {
	if !Interactive() {
		// Non-blocking, so that the runtime's poller takes it and Close wakes a reader.
		if err := unix.SetNonblock(0, true); err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
	}
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, nil, fmt.Errorf("standard output: %w", err)
	}
	if err := redirect(2, 1); err != nil {
		return nil, nil, fmt.Errorf("standard output: %w", err)
	}
	return os.NewFile(0, "stdin"), os.NewFile(uintptr(fd), "stdout"), nil
}

// Interactive tells whether standard input is neither a pipe nor a socket: then a person, not
// a program, is at the other end.
func Interactive() bool {
	var stat unix.Stat_t
	if unix.Fstat(0, &stat) != nil {
		return true
	}
	kind := stat.Mode & unix.S_IFMT
	return kind != unix.S_IFIFO && kind != unix.S_IFSOCK
}
