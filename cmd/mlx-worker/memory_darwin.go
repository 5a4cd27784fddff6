package main

import "syscall"

// residentBytes returns the most resident memory that the process had so far, or 0 if the
// kernel does not tell: the current figure takes a Mach call.
func residentBytes() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss
}
