package guard_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/seed-9a6c551e/offheap/guard"
)

// A key is made in a Secret region and used in place. It is never on the Go heap, nor in a core dump, nor, where
// RLIMIT_MEMLOCK allows the lock, on a disk.
func ExampleConfig_secret() {
	r, err := guard.Reserve(guard.Config{Name: "key", Size: 32, Secret: true, MaySwap: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close() // overwrites it
	if err := r.Commit(0, r.Size()); err != nil {
		fmt.Println(err)
		return
	}
	key := r.Bytes()[:32]
	rand.Read(key)
	mac := sha256.Sum256(key) // used in place; its state, and what it returns, are Go's
	fmt.Println(len(key), len(mac))
	// Output: 32 32
}
