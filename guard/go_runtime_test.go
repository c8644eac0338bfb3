package guard

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unique"
	"unsafe"
	"weak"
)

// useRegion maps a region of one OS page, and views its first bytes as a string.
func useRegion(t *testing.T) (r *Region, b []byte, s string) {
	t.Helper()
	r = mustReserve(t, Config{Size: PageSize()})
	if err := r.Commit(0, PageSize()); err != nil {
		t.Fatal(err)
	}
	b = r.Bytes()[:5]
	copy(b, "hello")
	return r, b, unsafe.String(&b[0], len(b))
}

func mustClose(t *testing.T, r *Region) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideGoDoesNotKnowPointers passes off-heap pointers to functions that end the program for them.
func TestOutsideGoDoesNotKnowPointers(t *testing.T) {
	cases := map[string]struct {
		f    func(t *testing.T, p *int)
		want string
	}{
		"SetFinalizer":     {func(_ *testing.T, p *int) { runtime.SetFinalizer(p, func(*int) {}) }, "fatal error: runtime.SetFinalizer: pointer not in allocated block"},
		"SetFinalizer nil": {func(_ *testing.T, p *int) { runtime.SetFinalizer(p, nil) }, "fatal error: runtime.SetFinalizer: pointer not in allocated block"},
		"AddCleanup":       {func(_ *testing.T, p *int) { runtime.AddCleanup(p, func(int) {}, 0) }, "panic: runtime.AddCleanup: ptr not in allocated block"},
		"weak.Make":        {func(_ *testing.T, p *int) { weak.Make(p) }, "fatal error: getWeakHandle on invalid pointer"},
		"map": {func(t *testing.T, _ *int) {
			r, _, s := useRegion(t)
			m := map[string]int{s: 1}
			mustClose(t, r)
			if err := Catch(func() { m["hello"] = 2 }); err == nil {
				t.Error("an assignment did not fault")
			}
			m["x"] = 3
		}, "fatal error: concurrent map "},
	}
	if name := os.Getenv("GUARD_TEST_POINTER"); name != "" {
		r, _, _ := useRegion(t)
		cases[name].f(t, (*int)(r.Base()))
		return
	}
	for name, c := range cases {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOutsideGoDoesNotKnowPointers$")
		cmd.Env = append(os.Environ(), "GUARD_TEST_POINTER="+name)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("the test runs under an emulator and cannot start itself")
		}
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, out, c.want)
		}
	}
}

// TestOutsideGoDoesNotKnowSystemCalls reads from a pipe and writes to it with memory that is gone.
func TestOutsideGoDoesNotKnowSystemCalls(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	defer to.Close()
	if _, err := to.WriteString("there is something to read"); err != nil {
		t.Fatal(err)
	}
	r, b, _ := useRegion(t)
	refused := func(when string) {
		t.Helper()
		for op, f := range map[string]func([]byte) (int, error){"read": from.Read, "write": to.Write} {
			var n int
			var failed error
			if caught := Catch(func() { n, failed = f(b) }); caught != nil || !errors.Is(failed, syscall.EFAULT) || n != 0 && n != -1 {
				t.Errorf("%s, %s: %d, %v, caught %v", when, op, n, failed, caught)
			}
		}
	}
	if err := r.Decommit(0, PageSize()); err != nil {
		t.Fatal(err)
	}
	refused("decommitted")
	mustClose(t, r)
	refused("closed")
}

// TestOutsideGoDoesNotKnowKeys changes the bytes of a map's key, and takes them away.
func TestOutsideGoDoesNotKnowKeys(t *testing.T) {
	for _, others := range []int{0, 1000} { // a map of one group, and one with many
		r, b, s := useRegion(t)
		m := map[string]int{s: 1}
		for i := range others {
			m[strings.Repeat("x", i)] = i
		}
		cloned, made := strings.Clone(s), unique.Make(s)
		b[0] = 'j'
		if _, found := m["hello"]; found {
			t.Error("a key is found as it was")
		}
		if _, found := m["jello"]; found && others > 0 {
			t.Error("a key is found as it is")
		}
		b[0] = 'h'
		if m["hello"] != 1 {
			t.Error("a key is not found that is as it was")
		}
		mustClose(t, r)
		var f *Fault
		if err := Catch(func() { _ = m["hello"] }); !errors.As(err, &f) || f.Kind != UseAfterClose {
			t.Errorf("a lookup of a key that is gone: %v", err)
		}
		if cloned != "hello" || made.Value() != "hello" {
			t.Errorf("the copies are %q and %q", cloned, made.Value())
		}
	}
}

// TestOutsideGoDoesNotKnowLeaks keeps a pointer into a region, and not the region.
func TestOutsideGoDoesNotKnowLeaks(t *testing.T) {
	leaked := make(chan Info, 100)
	SetOnLeak(func(in Info) { leaked <- in })
	defer SetOnLeak(nil)
	s := func() string {
		r, err := Reserve(Config{Name: "kept by a string", Size: PageSize()})
		if err == nil {
			err = r.Commit(0, PageSize())
		}
		if err != nil {
			t.Fatal(err)
		}
		return unsafe.String((*byte)(r.Base()), copy(r.Bytes(), "hello"))
	}()
	for range 100 {
		runtime.GC()
		select {
		case in := <-leaked:
			if in.Name == "kept by a string" {
				if s != "hello" {
					t.Errorf("the region is gone: %q", s)
				}
				return
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the collector kept a region for a string in it")
}

// TestOutsideGoDoesNotKnowMemory touches more than Go's figures grow by, from goroutines that race, which
// the detector does not see.
func TestOutsideGoDoesNotKnowMemory(t *testing.T) {
	const size = 64 << 20
	r := mustReserve(t, Config{Size: size})
	if err := r.Commit(0, size); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for off := 0; off < size; off += PageSize() {
				r.Bytes()[off] = byte(i)
			}
		})
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > size/2 || r.Committed() != size {
		t.Errorf("Go's memory grew by %d, %d are committed", grown, r.Committed())
	}
}
