package native

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// needNative skips a test where no native code can run, after a look at the errors there.
func needNative(t testing.TB) {
	t.Helper()
	if checkSupported() == nil {
		return
	}
	_, code := LoadCode([]byte{1})
	_, object := LoadObject("x.so")
	if !errors.Is(code, errors.ErrUnsupported) || !errors.Is(object, errors.ErrUnsupported) {
		t.Errorf("LoadCode: %v; LoadObject: %v", code, object)
	}
	t.Skip(code)
}

// nothingLeft fails a test that ends with other regions or more committed memory than it began with.
func nothingLeft(t testing.TB) {
	t.Helper()
	before := guard.Usage()
	t.Cleanup(func() {
		if after := guard.Usage(); after.Regions != before.Regions || after.Committed != before.Committed {
			t.Errorf("before %+v, after %+v", before, after)
		}
	})
}

// mustFault reads or writes the byte at p, which must fault with this kind.
func mustFault(t testing.TB, what string, kind guard.Kind, p *byte, write bool) {
	t.Helper()
	var sink byte
	err := guard.Catch(func() {
		if write {
			*p = 1
		} else {
			sink = *p
		}
	})
	var fault *guard.Fault
	if !errors.As(err, &fault) || fault.Kind != kind {
		t.Errorf("%s: %v (read %d), want %v", what, err, sink, kind)
	}
}

// permissions returns the permissions of the mapping that holds p, in the form of /proc/self/maps.
func permissions(t testing.TB, p unsafe.Pointer) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		lo, hi, _ := strings.Cut(fields[0], "-")
		if hexadecimal(t, lo) <= uint64(uintptr(p)) && uint64(uintptr(p)) < hexadecimal(t, hi) {
			return fields[1]
		}
	}
	return "none"
}

func TestLoadCode(t *testing.T) {
	needNative(t)
	nothingLeft(t)
	for _, n := range []int{4, guard.PageSize(), guard.PageSize() + 4} {
		code := bytes.Repeat([]byte{1, 2, 3, 4}, n/4)
		c, err := LoadCode(code)
		stacktest.NoError(t, err)
		base := c.region.Base()
		if !bytes.Equal(unsafe.Slice((*byte)(base), n), code) {
			t.Error("not what was loaded")
		}
		if got := permissions(t, base); got != "r-xp" {
			t.Errorf("the code is %s", got)
		}
		mustFault(t, "write to code", guard.Protected, (*byte)(base), true)
		if c.Func(0) != Func(base) || c.Func(n-4) != Func(uintptr(base)+uintptr(n)-4) {
			t.Error("Func is not where the code is")
		}
		for _, off := range []int{-1, -4, n, n + 4, math.MaxInt, math.MinInt} {
			mustPanic(t, c, off)
		}
		if instructionAlign == 4 {
			mustPanic(t, c, 2)
		}
		stacktest.NoError(t, c.Close())
		mustFault(t, "closed code", guard.UseAfterClose, (*byte)(base), false)
		if err := c.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	}
	if _, err := LoadCode(nil); err == nil {
		t.Error("no code: no error")
	}
}

func mustPanic(t testing.TB, c *Code, off int) {
	t.Helper()
	defer func() {
		if err, _ := recover().(error); err == nil || !strings.Contains(err.Error(), "no instruction at offset") {
			t.Errorf("Func(%d): %v", off, err)
		}
	}()
	c.Func(off)
}

func TestLoadCodeBeyondBudget(t *testing.T) {
	needNative(t)
	nothingLeft(t)
	stacktest.SetBudget(t, guard.Budget{Hard: guard.Committed() + 1})
	_, err := LoadCode([]byte{1, 2, 3, 4})
	stacktest.SetBudget(t, guard.Budget{})
	if !errors.Is(err, guard.ErrNoMemory) {
		t.Error(err)
	}
}
