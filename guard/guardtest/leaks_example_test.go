package guardtest_test

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
)

func ExampleCheckLeaks() {
	var t *testing.T // the parameter of TestParser

	guardtest.CheckLeaks(t) // before the first t.Cleanup

	r, err := guard.Reserve(guard.Config{Name: "input", Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) // without this the test fails, and says where "input" was opened
}
