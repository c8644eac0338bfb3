package guardtest_test

import (
	"bytes"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard/guardtest"
)

// A fuzz target whose input touches a guard: with "index" written in assembly, or with package
// unsafe, a read of one byte too many fails it and names the line.
func ExampleFence() {
	var f *testing.F // that of func FuzzIndex(f *testing.F)

	f.Fuzz(func(t *testing.T, data []byte, c byte) {
		data = guardtest.Fence(t, data)
		if i := bytes.IndexByte(data, c); i >= 0 && data[i] != c {
			t.Error(i)
		}
	})
}
