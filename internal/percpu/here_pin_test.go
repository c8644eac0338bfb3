//go:build !gc || race || msan || asan || offheap_pin || go1.28 || !(linux || darwin || freebsd || netbsd || openbsd) || !(386 || amd64 || arm64)

package percpu

import "testing"

// TestHereIsNil asks for caches where only Pin leads to them.
func TestHereIsNil(t *testing.T) {
	var table Table[counter]
	for range 100 {
		if use(&table); Here(&table) != nil {
			t.Fatal("Here returns a cache")
		}
	}
}
