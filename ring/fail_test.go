package ring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func descriptors(t testing.TB) int { return count(t, "/proc/self/fd") }

// count returns the number of files in a directory.
func count(t testing.TB, dir string) int {
	list, err := os.ReadDir(dir)
	mustDo(t, err)
	return len(list)
}

// TestFailEveryCall makes each system call fail once, in the life of a ring and of a broadcast: there is an error or none, nothing is
// left behind, and what worked before works again.
func TestFailEveryCall(t *testing.T) {
	ctx := soon(t)
	message := []byte("message")
	exchange := func(p interface {
		Flush() error
	}, send func() error, c *Consumer) error {
		if err := errors.Join(send(), p.Flush()); err != nil {
			return err
		}
		b, err := c.Recv(ctx, nil)
		if err == nil && string(b) != string(message) {
			err = errors.New("another message")
		}
		return err
	}
	ring := func() (err error) {
		r, err := Create(Config{})
		if err != nil {
			return err
		}
		defer func() {
			if failed := r.Close(); failed != nil {
				err = errors.Join(err, failed)
				if r.Close() != nil {
					t.Error("the second Close fails, too")
				}
			}
		}()
		p, err := r.Producer()
		if err != nil {
			return err
		}
		c, err := r.Consumer()
		if err != nil {
			return err
		}
		go func() { // once the consumer sleeps
			for c.Stats().Parks == 0 && ctx.Err() == nil {
				c.bell.ring()
			}
			c.PeerDied()
		}()
		if err := exchange(p, func() error { return p.Send(ctx, message) }, c); err != nil {
			return err
		}
		if _, err := c.Recv(ctx, nil); !errors.Is(err, ErrPeerDied) {
			return err
		}
		return nil
	}
	broadcast := func() (err error) {
		b, err := CreateBroadcast(Config{})
		if err != nil {
			return err
		}
		defer func() {
			if failed := b.Close(); failed != nil {
				err = errors.Join(err, failed)
				if b.Close() != nil {
					t.Error("the second Close fails, too")
				}
			}
		}()
		data, cursor, err := b.AddReader()
		if err != nil {
			return err
		}
		_, _ = data, cursor
		return errors.Join(b.Send(ctx, message), b.Flush())
	}
	for name, do := range map[string]func() error{"ring": ring, "broadcast": broadcast} {
		mustDo(t, do())
		before, had := guard.Usage(), descriptors(t)
		for kind := range vm.Kinds {
			stop := vm.Inject(kind, 0, nil)
			err := do()
			calls := stop()
			mustDo(t, err)
			for nth := 1; nth <= calls; nth++ {
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				err := do()
				stop()
				if err != nil && !errors.Is(err, vm.OutOfMemory) && !errors.Is(err, guard.ErrNoMemory) {
					t.Errorf("%s, %v %d of %d: %v", name, kind, nth, calls, err)
				}
				if after := guard.Usage(); after.Committed != before.Committed || after.Regions != before.Regions || descriptors(t) != had {
					t.Fatalf("%s, %v %d of %d: before %+v and %d descriptors, after %+v and %d", name, kind, nth, calls, before, had, after, descriptors(t))
				}
				mustDo(t, do())
			}
		}
	}
}

// TestFullString prints policies, alone, in a Config and in errors.
func TestFullString(t *testing.T) {
	for full, want := range map[Full]string{Block: "Block", Fail: "Fail", DropOldest: "DropOldest", policies: "Full(3)", 99: "Full(99)"} {
		if got := full.String(); got != want {
			t.Errorf("%d: %q, not %q", uint32(full), got, want)
		}
		if got := fmt.Sprintf("%+v", Config{Full: full}); !strings.Contains(got, "Full:"+want+" ") {
			t.Errorf("in a Config: %s", got)
		}
	}
	if _, err := Create(Config{Full: 99}); err == nil || !strings.HasSuffix(err.Error(), "Config.Full is Full(99), not Block, Fail or DropOldest") {
		t.Error(err)
	}
	r, err := Create(Config{})
	mustDo(t, err)
	defer r.Close()
	r.head.full.Store(99)
	if _, err := Attach(sent(t, r.Memory())[0]); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "the header says Full(99), not") {
		t.Error(err)
	}
}

// TestBadConfig gives what no ring can be.
func TestBadConfig(t *testing.T) {
	for _, c := range []Config{{Size: -1}, {Size: maxSize + 1}, {Full: policies}, {Full: 99}} {
		if _, err := Create(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
		if _, err := CreateBroadcast(c); err == nil {
			t.Errorf("broadcast %+v: no error", c)
		}
	}
	page := guard.PageSize()
	for size, want := range map[int]int{0: 1 << 20, 1: page, page: page, page + 1: 2 * page, 3 * page: 4 * page} {
		if got := MemorySize(size) - page; got != want {
			t.Errorf("a size of %d makes %d", size, got)
		}
	}
	for _, n := range []int{0, 1, page, 2*page - 1, 4 * page, 2*page + 1} {
		if _, err := AttachIn(make([]byte, n+page)[:n]); err == nil {
			t.Errorf("AttachIn of %d bytes: no error", n)
		}
	}
	for what, call := range map[string]func(){
		"Ring":      func() { new(Ring).Close() },
		"Producer":  func() { new(Producer).Claim(t.Context(), 1) },
		"Publish":   func() { new(Producer).Publish(1) },
		"Consumer":  func() { new(Consumer).Peek(t.Context()) },
		"Release":   func() { new(Consumer).Release() },
		"Broadcast": func() { new(Broadcast).Flush() },
		"Attach":    func() { Attach(nil) },
		"FanIn":     func() { new(FanIn).Add(new(Consumer)) },
	} {
		func() {
			defer func() {
				if v, ok := recover().(*guard.Violation); !ok || v.Kind != guard.ZeroValue {
					t.Errorf("%s: %v", what, v)
				}
			}()
			call()
		}()
	}
}
