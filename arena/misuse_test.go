package arena

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
)

// TestMisuse is the table of what a program must not do, and the words it is told so with.
func TestMisuse(t *testing.T) {
	type setup struct {
		a, other *Arena // open
		shut     *Arena // closed
		stale    Mark   // of a
		idle     *Arena // in the pool
		pool     *Pool
		k, done  *Concurrent // open, closed
		ref      Ref[uint64] // into a
	}
	for _, c := range []struct {
		name string
		do   func(s setup)
		want string
	}{
		{"New after Close", func(s setup) { New[uint64](s.shut) }, `arena.New: use after Close ("shut")`},
		{"New of nothing after Close", func(s setup) { New[struct{}](s.shut) }, `arena.New: use after Close ("shut")`},
		{"TryNew after Close", func(s setup) { TryNew[uint64](s.shut) }, `arena.TryNew: use after Close ("shut")`},
		{"MakeSlice after Close", func(s setup) { MakeSlice[byte](s.shut, 1, 1) }, `arena.MakeSlice: use after Close ("shut")`},
		{"Append after Close", func(s setup) { Append(s.shut, nil, 1) }, `arena.Append: use after Close ("shut")`},
		{"Clone after Close", func(s setup) { Clone(s.shut, []int{1}) }, `arena.Clone: use after Close ("shut")`},
		{"String after Close", func(s setup) { String(s.shut, "") }, `arena.String: use after Close ("shut")`},
		{"Alloc after Close", func(s setup) { s.shut.Alloc(1, 1) }, `arena.Alloc: use after Close ("shut")`},
		{"Mark after Close", func(s setup) { s.shut.Mark() }, `arena.Mark: use after Close ("shut")`},
		{"Rewind after Close", func(s setup) { s.shut.Rewind(Mark{}) }, `arena.Rewind: use after Close ("shut")`},
		{"Reset after Close", func(s setup) { s.shut.Reset() }, `arena.Reset: use after Close ("shut")`},
		{"OnReset after Close", func(s setup) { s.shut.OnReset(func() {}) }, `arena.OnReset: use after Close ("shut")`},
		{"Deref after Close", func(s setup) { s.ref.Deref(s.shut) }, `arena.Deref: use after Close ("shut")`},
		{"New after Put", func(s setup) { New[uint64](s.idle) }, `arena.New: use after Put ("pool")`},
		{"Reset after Put", func(s setup) { s.idle.Reset() }, `arena.Reset: use after Put ("pool")`},
		{"Deref after Put", func(s setup) { s.ref.Deref(s.idle) }, `arena.Deref: use after Put ("pool")`},
		{"Put twice", func(s setup) { s.pool.Put(s.idle) }, `arena.Put: put twice ("pool")`},
		{"Put of no pool's", func(s setup) { s.pool.Put(s.a) }, `arena.Put: arena of another pool ("a")`},
		{"stale mark", func(s setup) { s.a.Rewind(s.stale) }, `arena.Rewind: stale mark: the arena was reset, or rewound to an earlier one ("a")`},
		{"foreign mark", func(s setup) { s.a.Rewind(s.other.Mark()) }, `arena.Rewind: mark of another arena ("a")`},
		{"zero mark", func(s setup) { s.a.Rewind(Mark{}) }, `arena.Rewind: mark of another arena ("a")`},
		{"Reset in a callback", func(s setup) { s.a.OnReset(s.a.Reset); s.a.Reset() }, `arena.Reset: called by an OnReset callback ("a")`},
		{"Close in a callback", func(s setup) { s.a.OnReset(func() { s.a.Close() }); s.a.Reset() }, `arena.Close: called by an OnReset callback ("a")`},
		{"Rewind in a callback", func(s setup) { s.a.OnReset(func() { s.a.Rewind(s.a.Mark()) }); s.a.Reset() }, `arena.Rewind: called by an OnReset callback ("a")`},
		{"foreign Ref", func(s setup) { s.ref.Deref(s.other) }, `arena.Deref: reference outside what is handed out ("other", offset 64)`},
		{"Slice of a foreign Ref", func(s setup) { s.ref.Slice(s.other, 2) }, `arena.Slice: reference outside what is handed out ("other", offset 64)`},
		{"Concurrent after Close", func(s setup) { NewIn[uint64](s.done) }, `arena.Concurrent.New: use after Close ("done")`},
		{"nothing from Concurrent after Close", func(s setup) { NewIn[struct{}](s.done) }, `arena.Concurrent.New: use after Close ("done")`},
		{"much from Concurrent after Close", func(s setup) { s.done.Alloc(1<<20, 8) }, `arena.Concurrent.New: use after Close ("done")`},
		{"Concurrent.Reset after Close", func(s setup) { s.done.Reset() }, `arena.Concurrent.Reset: use after Close ("done")`},
		{"foreign Ref in Concurrent", func(s setup) { s.ref.DerefIn(s.k) }, `arena.Concurrent.DerefIn: reference outside what is handed out ("k", offset 64)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := setup{a: opened(t, Config{Name: "a"}), other: opened(t, Config{Name: "other"}), shut: opened(t, Config{Name: "shut"}), pool: pooled(t, Config{Name: "pool"})}
			s.k, s.done = concurrent(t, Config{Name: "k"}), concurrent(t, Config{Name: "done"})
			s.stale = s.a.Mark()
			s.a.Reset()
			s.ref = RefOf(s.a, New[uint64](s.a))
			New[uint64](s.shut)
			NewIn[uint64](s.done)
			if err := errors.Join(s.shut.Close(), s.done.Close()); err != nil {
				t.Fatal(err)
			}
			s.idle = get(t, s.pool)
			New[uint64](s.idle)
			s.pool.Put(s.idle)
			err := panicOf(func() { c.do(s) })
			var v *guard.Violation
			if !errors.As(err, &v) || err.Error() != c.want {
				t.Errorf("\n got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestRefOfForeignPointer(t *testing.T) {
	a, other := opened(t, Config{Name: "a"}), opened(t, Config{Name: "other"})
	p := New[uint64](other)
	var v *guard.Violation
	if err := panicOf(func() { RefOf(a, p) }); !errors.As(err, &v) || v.Op != "arena.RefOf" || v.What != "pointer into other memory" || v.Region != "a" || v.Addr == 0 {
		t.Error(err)
	}
}

// TestFaults: what an arena no longer holds faults, and Catch says which memory it was.
func TestFaults(t *testing.T) {
	a := opened(t, Config{Name: "gone", Reserve: 4 << 20})
	p := New[uint64](a)
	catch := func(f func()) *guard.Fault {
		var fault *guard.Fault
		errors.As(guard.Catch(f), &fault)
		return fault
	}
	s := a.Alloc(3<<20, 8)
	for range 100 {
		a.Reset()
	}
	if f := catch(func() { s[len(s)-1] = 1 }); f == nil || f.Kind != guard.Decommitted || f.Region != "gone" {
		t.Errorf("memory that went back: %v", f)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if f := catch(func() { *p = 1 }); f == nil || f.Kind != guard.UseAfterClose || f.Offset != first {
		t.Errorf("use after Close: %v", f)
	}
}

// TestUncaughtFaultEndsTheProcess touches a closed arena without Catch, in a process of its own.
func TestUncaughtFaultEndsTheProcess(t *testing.T) {
	const asked = "OFFHEAP_TEST_FAULT"
	if os.Getenv(asked) != "" {
		a, err := Open(Config{})
		if err != nil {
			t.Fatal(err)
		}
		p := New[uint64](a)
		a.Close()
		*p = 1
		fmt.Println("alive")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("the process ended with %v, want exit status 2", err)
	}
	if s := string(out); strings.Contains(s, "alive") || !strings.Contains(s, "unexpected fault address") || !strings.Contains(s, t.Name()) {
		t.Fatalf("the process should have died at the touch:\n%s", s)
	}
}
