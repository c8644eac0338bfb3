//go:build !gc || race || msan || asan || offheap_pin || go1.28 || !(linux || darwin || freebsd || netbsd || openbsd) || !(386 || amd64 || arm64)

package percpu

import "testing"

// TestNoProcessor asks for the processor where only Pin leads to its cache.
func TestNoProcessor(t *testing.T) {
	for range 100 {
		if _, ok := Processor(); ok {
			t.Fatal("Processor is sure")
		}
	}
}
