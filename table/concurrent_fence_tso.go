//go:build amd64 || 386 || s390x

package table

// loadFence orders the loads before it with those after it, and storeFence the stores. These processors do both for
// ordinary loads and stores.
func loadFence() {}

func storeFence() {}
