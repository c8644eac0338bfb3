//go:build gc && !race && !msan && !asan && !offheap_pin && !go1.28 && (linux || darwin || freebsd || netbsd || openbsd) && (386 || amd64 || arm64)

package percpu

import "testing"

//go:nosplit
//go:noinline
//go:nocheckptr
func hereIsPin(t *Table[counter]) *counter { return Here(t) }

func TestHere(t *testing.T) {
	var table Table[counter]
	if hereIsPin(&table) != nil {
		t.Error("there is a cache")
	}
	for range 1000 {
		use(&table)
		a, b := hereIsPin(&table), Pin(&table)
		Unpin(b)
		if a != b {
			t.Fatalf("Here %p, Pin %p", a, b)
		}
	}
}
