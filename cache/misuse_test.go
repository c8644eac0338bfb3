package cache

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestErrorsNameTheCall has calls fail: the error names the call, and an Update does not call its function for a key that is too long.
func TestErrorsNameTheCall(t *testing.T) {
	long := make([]byte, MaxKey+1)
	c, _ := open(t, Config{})
	ran := 0
	calls := map[string]func(key []byte) error{
		"set": func(key []byte) error { return c.Set(key, nil) },
		"add": func(key []byte) error { _, err := c.Add(key, 1); return err },
		"update": func(key []byte) error {
			return c.Update(key, func([]byte, bool) ([]byte, bool) { ran++; return nil, true })
		},
	}
	for name, call := range calls {
		if err := call(long); !errors.Is(err, ErrTooLarge) || !strings.HasPrefix(err.Error(), "cache: "+name+" ") {
			t.Errorf("%s of a key that is too long: %v", name, err)
		}
	}
	if ran > 0 {
		t.Errorf("the function of an Update that cannot be ran %d times", ran)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		if err := call([]byte("k")); !errors.Is(err, guard.ErrClosed) || !strings.HasPrefix(err.Error(), "cache: "+name+" ") {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestScanOfFew scans by numbers that are no numbers of entries: each call goes on all the same.
func TestScanOfFew(t *testing.T) {
	c, _ := open(t, Config{})
	const entries = 1000
	for i := range entries {
		if err := c.Set([]byte{byte(i), byte(i >> 8)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, -1} {
		var cursor Cursor
		seen, calls := 0, 0
		for ; calls == 0 || cursor != 0; calls++ {
			if calls > 10*entries {
				t.Fatalf("Scan of %d entries has no end", n)
			}
			for range c.Scan(&cursor, n) {
				seen++
			}
		}
		if seen != entries {
			t.Errorf("%d calls of Scan for %d entries have met %d of %d", calls, n, seen, entries)
		}
	}
}
