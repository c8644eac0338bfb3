package guardtest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// leakTB is a test that CheckLeaks may fail.
type leakTB struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (t *leakTB) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *leakTB) Errorf(f string, args ...any) { t.errors = append(t.errors, fmt.Sprintf(f, args...)) }

// leaksOf returns the failures that CheckLeaks reports for a test.
func leaksOf(t *testing.T, test func(t testing.TB)) []string {
	in := &leakTB{TB: t}
	CheckLeaks(in)
	test(in)
	for i := len(in.cleanups) - 1; i >= 0; i-- {
		in.cleanups[i]()
	}
	return in.errors
}

func expectLeaks(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d reports, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("report\n%s\nmust begin\n%s", got[i], want[i])
		}
	}
}

func TestCheckLeaks(t *testing.T) {
	page := guard.PageSize()
	before := mustReserve(t, region.Config{Name: "before", Size: page})
	_, file, line, _ := runtime.Caller(0)
	got := leaksOf(t, func(testing.TB) {
		for _, name := range []string{"same", "same", "other"} {
			mustReserve(t, region.Config{Name: name, Size: page})
		}
		mustReserve(t, region.Config{Name: "alone", Size: page})
	})
	where := func(line int) string { return fmt.Sprintf("\n\t%s:%d\n", file, line) }
	const opened = "guard: regions that this test opened are not closed: "
	expectLeaks(t, got, opened+`"other", "same" 2 times; opened at`+"\n", opened+`"alone"; opened at`+"\n")
	for i, at := range []int{line + 3, line + 5} {
		if !strings.Contains(got[i], where(at)) {
			t.Errorf("line %d is not in\n%s", at, got[i])
		}
	}

	expectLeaks(t, leaksOf(t, func(t testing.TB) {
		r, err := region.Reserve(region.Config{Size: page})
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() { r.Close() })
		before.Close()
	}))
}

// TestCheckLeaksLeavesOut opens parts of owners that were open before, and regions that stay on purpose: no leaks.
func TestCheckLeaksLeavesOut(t *testing.T) {
	page := guard.PageSize()
	heap := mustReserve(t, region.Config{Name: "heap", Size: page})
	expectLeaks(t, leaksOf(t, func(testing.TB) {
		mustReserve(t, region.Config{Name: "more of it", Size: page, PartOf: heap})
		mustReserve(t, region.Config{Name: "kept", Size: page}).Explain(func(*region.Fault) {})
		if err := heap.Close(); err != nil {
			t.Error(err)
		}
		mustReserve(t, region.Config{Name: "more of it", Size: page, PartOf: heap})
	}))
	got := leaksOf(t, func(testing.TB) {
		own := mustReserve(t, region.Config{Name: "own", Size: page})
		mustReserve(t, region.Config{Name: "more of own", Size: page, PartOf: own})
		own.Close()
	})
	expectLeaks(t, got, `guard: regions that this test opened are not closed: "more of own"; opened at`)
}

func TestCheckLeaksCounts(t *testing.T) {
	page := guard.PageSize()
	objects, bytes := 5, int64(500)
	told := true
	heap := mustReserve(t, region.Config{Name: "heap", Size: page})
	heap.CountLive(func() (int, int64, bool) { return objects, bytes, told })
	change := func(by int, byBytes int64) []string {
		return leaksOf(t, func(testing.TB) { objects, bytes = objects+by, bytes+byBytes })
	}
	expectLeaks(t, change(-1, -200))
	expectLeaks(t, change(0, 0))
	const more = `guard: "heap" has more in use than when this test began: `
	expectLeaks(t, change(1, 0), more+"5 objects, were 4; 300 bytes, were 300; opened at\n")
	expectLeaks(t, change(0, 8), more+"5 objects, were 5; 308 bytes, were 300; opened at\n")
	expectLeaks(t, leaksOf(t, func(testing.TB) {
		more := mustReserve(t, region.Config{Name: "more of it", Size: page, PartOf: heap})
		more.CountLive(func() (int, int64, bool) { return 2, 10, true })
		objects-- // one region has less, and another one of the same owner has more
	}), more+"6 objects, were 5; 318 bytes, were 308; opened at\n")

	told = false // as by an allocator whose lock is held
	objects = 100
	if in, _ := find("heap"); in.Live != 308 {
		t.Errorf("%d bytes, told were 308", in.Live)
	}
}
