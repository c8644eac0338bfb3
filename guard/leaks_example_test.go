package guard_test

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

func ExampleCheckLeaks() {
	var t *testing.T // that of func TestParser(t *testing.T)

	guard.CheckLeaks(t) // before what is registered with t.Cleanup

	r, err := guard.Map(guard.Config{Name: "input", Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) // without this the test fails, and says where "input" was opened
}
