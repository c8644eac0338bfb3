package stack

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideDroppedStack drops a stack without Put. The pool and CheckLeaks count it as in use. When the
// pool is closed and dropped as well, the region is reported as a leak.
func TestOutsideDroppedStack(t *testing.T) {
	told := make(chan guard.Info, 10)
	guard.SetOnLeak(func(in guard.Info) { told <- in })
	defer guard.SetOnLeak(nil)
	func() {
		p, err := OpenPool(Config{Name: "dropped", Size: 64 << 10, Max: 10})
		stacktest.NoError(t, err)
		var reports recorder
		guardtest.CheckLeaks(&reports)
		get(t, p).Alloc(1000, 8)
		reports.end()
		if len(reports.errors) != 1 || !strings.Contains(reports.errors[0], "1 objects, were 0; 1000 bytes, were 0") {
			t.Errorf("CheckLeaks: %q", reports.errors)
		}
		stacktest.NoError(t, p.Close())
		if s := p.Stats(); s.InUse != 1 || s.Live != 1000 || s.Reserved == 0 {
			t.Errorf("after Close: %+v", s)
		}
	}()
	for range 100 {
		runtime.GC()
		select {
		case in := <-told:
			if in.Name != "dropped" {
				continue
			}
			if !in.Leaked || in.Live != 1000 || in.Committed < 64<<10 || !strings.Contains(in.Opened, "TestOutsideDroppedStack") {
				t.Errorf("%+v", in)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("nothing was told")
}

// recorder is a testing.TB for CheckLeaks that records errors.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, a ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, a...))
}

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}
