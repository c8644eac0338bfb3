package guard

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func TestCatchPassesOn(t *testing.T) {
	if err := Catch(func() {}); err != nil {
		t.Fatal(err)
	}
	mine := errors.New("mine")
	foreign, err := vm.Reserve(uintptr(PageSize())) // inaccessible, and no region of ours
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Release(foreign, uintptr(PageSize()))
	for name, f := range map[string]struct {
		f    func()
		same func(p any) bool
	}{
		"error": {func() { panic(mine) }, func(p any) bool { return p == mine }},
		"value": {func() { panic(7) }, func(p any) bool { return p == 7 }},
		"nil pointer": {func() { *nilPointer = 1 }, func(p any) bool {
			e, ok := p.(runtime.Error)
			return ok && strings.Contains(e.Error(), "nil pointer dereference")
		}},
		"foreign address": {func() { sink = *(*byte)(foreign) }, func(p any) bool {
			e, ok := p.(interface{ Addr() uintptr })
			return ok && e.Addr() == uintptr(foreign)
		}},
		"violation": {func() { panic(&Violation{Op: "x"}) }, func(p any) bool { _, ok := p.(*Violation); return ok }},
	} {
		func() {
			defer func() {
				if p := recover(); !f.same(p) {
					t.Errorf("%s: came out as %v", name, p)
				}
			}()
			err := Catch(f.f)
			t.Errorf("%s: Catch returned %v", name, err)
		}()
		if old := debug.SetPanicOnFault(false); old {
			t.Errorf("%s: Catch left the goroutine panicking on faults", name)
		}
	}
}

var nilPointer *int

func TestCatchNested(t *testing.T) {
	r := mustReserve(t, Config{Name: "nested", Size: PageSize()})
	reached := false
	err := Catch(func() {
		if inner := touch(r, 0); inner == nil || inner.Kind != Decommitted {
			t.Errorf("inner: %v", inner)
		}
		reached = true
		sink = *(*byte)(unsafe.Add(r.Base(), r.Size()))
		t.Error("ran on after a fault")
	})
	var f *Fault
	if !reached || !errors.As(err, &f) || f.Kind != Overflow || f.Region != "nested" || f.Offset != r.Size() || f.Size != r.Size() {
		t.Fatalf("outer: %v", err)
	}
}

func TestCatchRunsDeferred(t *testing.T) {
	r := mustReserve(t, Config{Size: PageSize()})
	unlocked := false
	if err := Catch(func() {
		defer func() { unlocked = true }()
		sink = r.Bytes()[0]
	}); err == nil || !unlocked {
		t.Fatalf("err %v, deferred call ran: %v", err, unlocked)
	}
}

func TestCatchGoexit(t *testing.T) {
	done := make(chan bool)
	go func() {
		defer func() { done <- debug.SetPanicOnFault(false) }()
		Catch(runtime.Goexit)
	}()
	if <-done {
		t.Fatal("Goexit through Catch left the goroutine panicking on faults")
	}
}

func TestCatchInGoroutines(t *testing.T) {
	r := mustReserve(t, Config{Size: 64 * PageSize()})
	errs := make(chan error)
	for i := range 64 {
		go func() {
			off := i*PageSize() + i
			f := touch(r, off)
			if f == nil || f.Offset != off || f.Kind != Decommitted {
				errs <- fmt.Errorf("goroutine %d: %v", i, f)
				return
			}
			errs <- nil
		}()
	}
	for range 64 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestUncaughtFaultsEndTheProgram touches inaccessible memory outside Catch.
func TestUncaughtFaultsEndTheProgram(t *testing.T) {
	switch os.Getenv("GUARD_TEST_DIE") {
	case "plain":
		r, _ := Reserve(Config{Size: 1})
		sink = r.Bytes()[0]
		return
	case "goroutine": // Catch does not reach into goroutines that f starts
		r, _ := Reserve(Config{Size: 1})
		done := make(chan bool)
		Catch(func() {
			go func() {
				defer close(done)
				sink = r.Bytes()[0]
			}()
			<-done
		})
		return
	}
	for _, how := range []string{"plain", "goroutine"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUncaughtFaultsEndTheProgram$")
		cmd.Env = append(os.Environ(), "GUARD_TEST_DIE="+how)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("the test runs under an emulator and cannot start itself")
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(out), "unexpected fault address") {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
}

func TestFaultText(t *testing.T) {
	for _, c := range []struct {
		f    Fault
		want string
	}{
		{Fault{Addr: 0x2000, Kind: Overflow, Region: "r", Offset: 4096, Size: 4096}, `guard: overflow in region "r": address 0x2000, 1 bytes beyond the last of 4096`},
		{Fault{Addr: 0xfff, Kind: Underflow, Region: "r", Offset: -1, Size: 4096}, `guard: underflow in region "r": address 0xfff, 1 bytes before the first of 4096`},
		{Fault{Addr: 0x1000, Kind: UseAfterClose, Region: "r", Offset: 0, Size: 4096}, `guard: use after close in region "r": address 0x1000, offset 0 of 4096`},
		{Fault{Addr: 0x1000, Kind: Decommitted, Region: "r", Offset: 0, Size: 4096}, `guard: touch of decommitted memory in region "r": address 0x1000, offset 0 of 4096`},
		{Fault{Addr: 0x1000, Kind: Guarded, Region: "r", Offset: 0, Size: 4096}, `guard: touch of a guard in region "r": address 0x1000, offset 0 of 4096`},
		{Fault{Addr: 0x1000, Kind: Protected, Region: "r", Offset: 0, Size: 4096}, `guard: access refused by protection in region "r": address 0x1000, offset 0 of 4096`},
		{Fault{Addr: 0x1000, Kind: Truncated, Region: "r", Offset: 0, Size: 4096}, `guard: touch beyond the end of its file in region "r": address 0x1000, offset 0 of 4096`},
	} {
		if got := c.f.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	v := Violation{Op: "arena.Rewind", Kind: WrongOwner, Detail: "mark of another arena", Region: "r", Addr: 0x40, Offset: 64, Allocated: "a\n", Freed: "f\n"}
	if got, want := (&Violation{Op: "arena.New", Kind: UseAfterClose, Region: "r"}).Error(), `arena.New: use after close ("r")`; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := v.Error(), "arena.Rewind: wrong owner: mark of another arena (\"r\", address 0x40, offset 64)\nallocated at\na\n\nfreed at\nf\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func BenchmarkCatch(b *testing.B) {
	n := 0
	for range b.N {
		Catch(func() { n++ })
	}
}

func BenchmarkCatchFault(b *testing.B) {
	r, err := Reserve(Config{Size: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	p := (*byte)(r.Base())
	for range b.N {
		if Catch(func() { sink = *p }) == nil {
			b.Fatal("no fault")
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	r, err := Reserve(Config{Size: PageSize()})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for range b.N {
		if err := errors.Join(r.Commit(0, PageSize()), r.Decommit(0, PageSize())); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMapClose(b *testing.B) {
	for range b.N {
		r, err := Reserve(Config{Size: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
