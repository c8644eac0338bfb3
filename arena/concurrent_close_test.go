package arena

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
)

// inChild is set in the process that child starts.
const inChild = "OFFHEAP_TEST_ARENA_CHILD"

// child runs the test again in a process of its own, after some shell commands, and reports how that ended. In
// that process it returns true.
func child(t *testing.T, first string) (isChild bool) {
	t.Helper()
	if os.Getenv(inChild) != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", first+` exec "$0" -test.run="^$1$" -test.v`, os.Args[0], t.Name())
	cmd.Env = append(os.Environ(), inChild+"=1")
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case errors.Is(err, syscall.ENOEXEC) || strings.Contains(text, "Exec format error"):
		t.Skip("the test runs under an emulator and cannot start itself")
	case err != nil:
		t.Errorf("%v\n%s", err, text)
	case strings.Contains(text, "--- SKIP"):
		t.Skip(text)
	}
	return false
}

// TestOutsideConcurrentClosedUnderLoad closes an arena while other goroutines call every function of it. They get
// memory before, or the error of an arena that is full, and a violation after. They get no other error and no fault: they do
// not touch the memory.
func TestOutsideConcurrentClosedUnderLoad(t *testing.T) {
	if !child(t, "") {
		return
	}
	alloctest.SetQuarantine(t, 64<<20)
	nothingLeft(t)
	long, longer := strings.Repeat("x", chunkSize/8), strings.Repeat("y", 40<<10)
	heap := make([]uint64, 5000)
	forms := map[string]func(k *Concurrent, r Ref[uint64], p *uint64) error{
		"NewIn":         func(k *Concurrent, r Ref[uint64], p *uint64) error { NewIn[[8]uint64](k); return nil },
		"TryNewIn":      func(k *Concurrent, r Ref[uint64], p *uint64) error { _, err := TryNewIn[[8]uint64](k); return err },
		"large Alloc":   func(k *Concurrent, r Ref[uint64], p *uint64) error { k.Alloc(40<<10, 8); return nil },
		"TryAlloc":      func(k *Concurrent, r Ref[uint64], p *uint64) error { _, err := k.TryAlloc(300, 64); return err },
		"MakeSliceIn":   func(k *Concurrent, r Ref[uint64], p *uint64) error { MakeSliceIn[uint64](k, 9, 10); return nil },
		"StringIn":      func(k *Concurrent, r Ref[uint64], p *uint64) error { StringIn(k, "text"); return nil },
		"long StringIn": func(k *Concurrent, r Ref[uint64], p *uint64) error { StringIn(k, long); return nil },
		"longer":        func(k *Concurrent, r Ref[uint64], p *uint64) error { StringIn(k, longer); return nil },
		"TryStringIn":   func(k *Concurrent, r Ref[uint64], p *uint64) error { _, err := TryStringIn(k, "text"); return err },
		"CloneIn":       func(k *Concurrent, r Ref[uint64], p *uint64) error { CloneIn(k, heap[:5]); return nil },
		"TryCloneIn":    func(k *Concurrent, r Ref[uint64], p *uint64) error { _, err := TryCloneIn(k, heap); return err },
		"AppendIn":      func(k *Concurrent, r Ref[uint64], p *uint64) error { AppendIn(k, heap[:5:5], 1); return nil },
		"TryAppendIn": func(k *Concurrent, r Ref[uint64], p *uint64) error {
			_, err := TryAppendIn(k, heap, heap...)
			return err
		},
		"DerefIn": func(k *Concurrent, r Ref[uint64], p *uint64) error { r.DerefIn(k); return nil },
		"SliceIn": func(k *Concurrent, r Ref[uint64], p *uint64) error { r.SliceIn(k, 1); return nil },
		"RefIn":   func(k *Concurrent, r Ref[uint64], p *uint64) error { RefIn(k, p); return nil },
		"Purge":   func(k *Concurrent, r Ref[uint64], p *uint64) error { return k.Purge() },
	}
	for range rounds(50) {
		k, err := OpenConcurrent(Config{Name: "shut", Limit: 1 << 30, Reserve: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		k.Alloc(8<<20, 8) // then chunks are to be cleared
		k.Reset()
		p := NewIn[uint64](k)
		r := RefIn(k, p)
		var wg sync.WaitGroup
		for name, form := range forms {
			wg.Go(func() {
				var v *guard.Violation
				for err := error(nil); v == nil; {
					if e := panicOf(func() { err = form(k, r, p) }); e != nil {
						err = e
					}
					if err != nil && !errors.As(err, &v) && !errors.Is(err, guard.ErrNoMemory) {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
				if v.Kind != guard.UseAfterClose || v.Region != "shut" || !strings.HasPrefix(v.Op, "arena.Concurrent.") {
					t.Errorf("%s: %v", name, v)
				}
			})
		}
		wg.Go(func() {
			for {
				if s := k.Stats(); s.Reserved == 0 {
					if s.Live != 0 && s.Committed != 0 {
						t.Errorf("after Close: %+v", s)
					}
					if _, err := k.Resident(); !errors.Is(err, guard.ErrClosed) {
						t.Errorf("after Close: %v", err)
					}
					return
				}
				runtime.Gosched()
			}
		})
		time.Sleep(time.Millisecond)
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := k.Close(); !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
}

// TestOutsideConcurrentStringOfClosed copies strings that fault. The fault names the region of the string, and Close
// does not wait for the copy.
func TestOutsideConcurrentStringOfClosed(t *testing.T) {
	nothingLeft(t)
	k, err := OpenConcurrent(Config{Name: "k"}) // without a Cleanup: it would wait as well
	if err != nil {
		t.Fatal(err)
	}
	NewIn[uint64](k)
	a := opened(t, Config{Name: "gone"})
	short, long := String(a, "short"), String(a, strings.Repeat("x", 100<<10))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{short, long} {
		var f *guard.Fault
		if err := guard.Catch(func() { StringIn(k, s) }); !errors.As(err, &f) || f.Region != "gone" {
			t.Errorf("%v", err)
		}
	}
	done := make(chan error)
	go func() { done <- errors.Join(k.Purge(), k.Close()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits")
	}
}

// TestOutsideConcurrentMoreProcessors: processors that were added after OpenConcurrent have chunks of
// their own, and those that were added after OpenPool a cache.
func TestOutsideConcurrentMoreProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	k := concurrent(t, Config{})
	p := pooled(t, Config{})
	*NewIn[uint64](k) = 1
	runtime.GOMAXPROCS(64)
	of := func() (chunks, caches int) {
		for c := range k.chunks.All() {
			if c.limit > 0 {
				chunks++
			}
		}
		for range p.caches.All() {
			caches++
		}
		return chunks, caches
	}
	for end := time.Now().Add(20 * time.Second); ; {
		onAllProcessors(func(g int) {
			for range 100 {
				*NewIn[uint64](k) = 1
				a, err := p.TryGet()
				if err != nil {
					t.Error(err)
					return
				}
				p.Put(a)
				runtime.Gosched()
			}
		})
		chunks, caches := of()
		if chunks > 4 && caches > 4 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d chunks and %d caches with 64 processors", chunks, caches)
		}
	}
}
