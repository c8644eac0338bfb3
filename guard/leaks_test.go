package guard

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakTB is a test that CheckLeaks may fail.
type leakTB struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (t *leakTB) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *leakTB) Errorf(f string, args ...any) { t.errors = append(t.errors, fmt.Sprintf(f, args...)) }

// leaksOf returns what CheckLeaks says of a test.
func leaksOf(t *testing.T, test func(t TB)) []string {
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
	page := PageSize()
	before := mustMap(t, Config{Name: "before", Size: page})
	_, file, line, _ := runtime.Caller(0)
	got := leaksOf(t, func(TB) {
		for _, name := range []string{"same", "same", "other"} {
			mustMap(t, Config{Name: name, Size: page})
		}
		mustMap(t, Config{Name: "alone", Size: page})
	})
	where := func(line int) string { return fmt.Sprintf("\n\t%s:%d\n", file, line) }
	const opened = "guard: regions that this test opened are not closed: "
	expectLeaks(t, got, opened+`"other", "same" 2 times; opened at`+"\n", opened+`"alone"; opened at`+"\n")
	for i, at := range []int{line + 3, line + 5} {
		if !strings.Contains(got[i], where(at)) {
			t.Errorf("line %d is not in\n%s", at, got[i])
		}
	}

	expectLeaks(t, leaksOf(t, func(t TB) {
		r, err := Map(Config{Size: page})
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() { r.Close() })
		before.Close()
	}))
}

// What is part of something that was open before, or is kept on purpose, is no leak of the test.
func TestCheckLeaksLeavesOut(t *testing.T) {
	page := PageSize()
	heap := mustMap(t, Config{Name: "heap", Size: page})
	expectLeaks(t, leaksOf(t, func(TB) {
		mustMap(t, Config{Name: "more of it", Size: page, PartOf: heap})
		mustMap(t, Config{Name: "kept", Size: page}).Explain(func(*Fault) {})
		if err := heap.Close(); err != nil {
			t.Error(err)
		}
		mustMap(t, Config{Name: "more of it", Size: page, PartOf: heap})
	}))
	got := leaksOf(t, func(TB) {
		own := mustMap(t, Config{Name: "own", Size: page})
		mustMap(t, Config{Name: "more of own", Size: page, PartOf: own})
		own.Close()
	})
	expectLeaks(t, got, `guard: regions that this test opened are not closed: "more of own"; opened at`)
}

func TestCheckLeaksCounts(t *testing.T) {
	page := PageSize()
	objects, bytes := 5, int64(500)
	told := true
	heap := mustMap(t, Config{Name: "heap", Size: page})
	heap.CountLive(func() (int, int64, bool) { return objects, bytes, told })
	change := func(by int, byBytes int64) []string {
		return leaksOf(t, func(TB) { objects, bytes = objects+by, bytes+byBytes })
	}
	expectLeaks(t, change(-1, -200))
	expectLeaks(t, change(0, 0))
	const more = `guard: "heap" has more in use than when this test began: `
	expectLeaks(t, change(1, 0), more+"5 objects, were 4; 300 bytes, were 300; opened at\n")
	expectLeaks(t, change(0, 8), more+"5 objects, were 5; 308 bytes, were 300; opened at\n")
	expectLeaks(t, leaksOf(t, func(TB) {
		more := mustMap(t, Config{Name: "more of it", Size: page, PartOf: heap})
		more.CountLive(func() (int, int64, bool) { return 2, 10, true })
		objects-- // what the one has less makes up for what the other has more
	}), more+"6 objects, were 5; 318 bytes, were 308; opened at\n")

	told = false // by an owner whose lock is held
	objects = 100
	if in, _ := find("heap"); in.Live != 308 {
		t.Errorf("%d bytes, told were 308", in.Live)
	}
}

// Who is counted may hold on to the region: it is noticed all the same when nobody else does, and
// then it has what it told last.
func TestCountDoesNotKeepAlive(t *testing.T) {
	reports := make(chan Info, 10)
	OnLeak(func(in Info) { reports <- in })
	defer OnLeak(nil)
	rec := func() *record {
		r, err := Map(Config{Name: "counted", Size: PageSize()})
		if err != nil {
			t.Fatal(err)
		}
		r.CountLive(func() (int, int64, bool) { return 1, int64(r.Size()), true })
		find("counted")
		return r.rec
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case in := <-reports:
			if in.Name == "counted" && in.Live != int64(PageSize()) {
				t.Errorf("live are %d bytes, want %d", in.Live, PageSize())
			}
			(&Region{rec: rec, base: rec.base, size: int(rec.data)}).Close()
			return
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("no report")
			}
		}
	}
}
