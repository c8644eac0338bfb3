//go:build linux

package trap

// signals are all that Go handles: its handlers need the goroutine in R28, see the package comment.
// One whose handler Go sets later (signal.Ignore, then signal.Notify) is not among them.
func signals() (all []int) {
	for sig := 1; sig < len(old); sig++ {
		if sig != 9 && sig != 19 { // SIGKILL, SIGSTOP
			all = append(all, sig)
		}
	}
	return all
}
