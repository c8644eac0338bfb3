package guardtest_test

import (
	"bytes"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard/guardtest"
)

// A fuzz target puts its input before a guard. If the function under test, in assembly or with package unsafe,
// reads one byte too many, the target fails and names the line.
func ExampleFence() {
	var f *testing.F // the parameter of FuzzIndex

	f.Fuzz(func(t *testing.T, data []byte, c byte) {
		data = guardtest.Fence(t, data)
		if i := bytes.IndexByte(data, c); i >= 0 && data[i] != c {
			t.Error(i)
		}
	})
}
