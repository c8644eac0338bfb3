package alloctest

import (
	"fmt"
	"testing"
)

// LeakTB is a testing.TB for guardtest.CheckLeaks. It keeps errors and cleanups until End.
type LeakTB struct {
	testing.TB
	cleanups []func()
	errors   []string
}

// Cleanup keeps f until End.
func (t *LeakTB) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Errorf keeps an error until End.
func (t *LeakTB) Errorf(f string, args ...any) { t.errors = append(t.errors, fmt.Sprintf(f, args...)) }

// End calls the cleanups, the last one first, and returns the errors.
func (t *LeakTB) End() []string {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	return t.errors
}
