//go:build race

package procpin

import "sync"

// Lock makes visible to the race detector what the pin guarantees, and it does not know.
type Lock struct{ sync.Mutex }
