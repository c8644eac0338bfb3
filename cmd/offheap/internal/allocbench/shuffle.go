package allocbench

import "github.com/seed-9a6c551e/offheap/internal/workload"

// shuffled returns a random permutation of [0, n) (Fisher-Yates).
func shuffled(n int, seed workload.Random) []uint32 {
	perm := make([]uint32, n)
	for i := range perm {
		perm[i] = uint32(i)
	}
	for i := uint32(n - 1); i > 0; i-- {
		j := workload.Below(seed.Next(), int(i+1))
		perm[i], perm[j] = perm[j], perm[i]
	}
	return perm
}
