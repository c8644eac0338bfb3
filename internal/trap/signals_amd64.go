//go:build linux

package trap

// signals are those that the processor raises: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
func signals() []int { return []int{4, 5, 7, 8, 11} }
