//go:build !unix

package workload

import "time"

// ProcessorTime returns 0: this system does not tell.
func ProcessorTime() time.Duration { return 0 }
