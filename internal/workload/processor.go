//go:build unix

package workload

import (
	"syscall"
	"time"
)

// ProcessorTime returns how long the process has run on processors since it started, in its own code and in the
// kernel's for it, all threads together; 0 where the system does not tell.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
