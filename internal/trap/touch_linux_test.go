//go:build amd64 || arm64

package trap

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

var sink byte

// cells makes inaccessible memory of some cells known.
func cells(t *testing.T, n int) (p unsafe.Pointer, size uintptr, cells []Cell) {
	t.Helper()
	size = uintptr(vm.Probe().PageSize)
	p, err := vm.Reserve(uintptr(n) * size)
	if err != nil {
		t.Fatal(err)
	}
	if err := Install(); err != nil {
		t.Fatal(err)
	}
	return p, size, WatchCells(uintptr(p), size, n)
}

// faults touches an address and returns what Go says of it.
func faults(p unsafe.Pointer) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { addr = recover().(interface{ Addr() uintptr }).Addr() }()
	sink = *(*byte)(p)
	return 0
}

func TestFaultsAreNoted(t *testing.T) {
	p, size, cells := cells(t, 4)
	for i := range cells {
		at := unsafe.Add(p, uintptr(i)*size+uintptr(i)*7)
		if got := faults(at); got != uintptr(at) {
			t.Fatalf("a touch of %p is one of %#x", at, got)
		}
		for j := range cells {
			addr, pc := cells[j].TakeFault()
			if j != i {
				if addr != 0 {
					t.Errorf("cell %d noted %#x, which is in cell %d", j, addr, i)
				}
				continue
			}
			if f := runtime.FuncForPC(pc); addr != uintptr(at) || f == nil || !strings.HasSuffix(f.Name(), "faults") {
				t.Errorf("noted address %#x at %v, want %p", addr, f, at)
			}
		}
		if addr, _ := cells[i].TakeFault(); addr != 0 {
			t.Errorf("taken twice: %#x", addr)
		}
	}
}

// TestTheSettingIsFound holds the byte in g to what the runtime says, on several goroutines.
func TestTheSettingIsFound(t *testing.T) {
	if err := Install(); err != nil {
		t.Fatal(err)
	}
	if panicOnFault == 0 {
		t.Fatal("not found: every fault would be reported, the caught ones too")
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range 100 {
				debug.SetPanicOnFault(i%3 == 0)
				if got := panics(getg()); got != (i%3 == 0) {
					t.Errorf("panics on faults: %v", got)
				}
			}
		})
	}
	all.Wait()
}

// TestReports shows what a program says that ends by a fault: in a cell, or elsewhere with a Finder.
func TestReports(t *testing.T) {
	const region, allocated, freed = `"it"`, "main.make\n\tmake.go:1\n", "main.drop\n\tdrop.go:2\n"
	apart, gone := &Kinds{Before: "below", Inside: "in", Beyond: "above"}, &Kinds{Before: "gone", Inside: "gone", Beyond: "gone"}
	const stacks = "\nallocated at\n" + allocated
	cases := map[string]struct {
		off    int
		report Report
		want   string
	}{
		"beyond":      {150, Report{Size: 100, Kinds: apart}, `guard: above in region "it": address 0xADDR, 51 bytes beyond the last of 100` + "\n"},
		"at end":      {100, Report{Size: 100, Kinds: apart}, `guard: above in region "it": address 0xADDR, 1 bytes beyond the last of 100` + "\n"},
		"inside":      {99, Report{Size: 100, Kinds: apart}, `guard: in in region "it": address 0xADDR, offset 99 of 100` + "\n"},
		"before":      {-12, Report{Size: 100, Kinds: apart}, `guard: below in region "it": address 0xADDR, 12 bytes before the first of 100` + "\n"},
		"freed":       {1000, Report{Size: 1 << 20, Kinds: gone, Allocated: allocated, Freed: freed}, `guard: gone in region "it": address 0xADDR, offset 1000 of 1048576` + stacks + "\nfreed at\n" + freed},
		"past gone":   {101, Report{Size: 100, Kinds: gone, Allocated: allocated}, `guard: gone in region "it": address 0xADDR, offset 101 of 100` + stacks},
		"before gone": {-12, Report{Size: 100, Kinds: gone, Allocated: allocated}, `guard: gone in region "it": address 0xADDR, offset -12 of 100` + stacks},
	}
	how, name, _ := strings.Cut(os.Getenv("TRAP_TEST_REPORT"), " ")
	if name != "" {
		c := cases[name]
		p, _, cells := cells(t, 2)
		at := unsafe.Add(p, len("in the middle of it")+100)
		c.report.Base, c.report.Region = uintptr(at), region
		if how == "cell" {
			cells[0].SetReport(&c.report)
		} else {
			known.report, known.kinds = c.report, c.report.Kinds
			known.report.Kinds = nil
			if err := FindReports(&Finder{findKnown, writeDone}); err != nil {
				t.Fatal(err)
			}
		}
		faults(at) // is not reported
		var nothing *int
		func() {
			defer func() { recover() }()
			*nothing = 1 // nor is this
		}()
		sink = *(*byte)(unsafe.Add(at, c.off))
		return
	}
	address := regexp.MustCompile("0x[0-9a-f]+")
	for name, c := range cases {
		for _, how := range []string{"cell", "finder"} {
			cmd := exec.Command(os.Args[0], "-test.run=^TestReports$")
			cmd.Env = append(os.Environ(), "TRAP_TEST_REPORT="+how+" "+name)
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.ENOEXEC) {
				t.Skip("the test runs under an emulator and cannot start itself")
			}
			report, rest, _ := strings.Cut(string(out), "unexpected fault address ")
			at, want := address.FindString(report), c.want
			if how == "finder" {
				want += "done\n"
			}
			if got := strings.Replace(report, at, "0xADDR", 1); got != want || !strings.HasPrefix(rest, at+"\n") {
				t.Errorf("%s, %s: got\n%s\nwant\n%s", how, name, out, want)
			}
		}
	}
}

// known is the report that the Finder of TestReports finds.
var known struct {
	report Report
	kinds  *Kinds
}

//go:nosplit
//go:norace
func findKnown(addr, sig uintptr) (*Report, *Kinds) {
	if sig != uintptr(syscall.SIGSEGV) || addr < known.report.Base-100 {
		return nil, nil
	}
	return &known.report, known.kinds
}

var done = struct {
	text vm.Text
	word string
}{word: "done\n"}

//go:nosplit
//go:norace
func writeDone() {
	done.text.Clear()
	done.text.Add(&done.word)
	done.text.Write()
}

// TestLatch has goroutines count under a Latch, half of them as handlers do.
func TestLatch(t *testing.T) {
	var (
		l   Latch
		mu  sync.Mutex // of those that are no handlers
		all sync.WaitGroup
		n   int // plain: the latch alone guards it
	)
	const goroutines, times = 4, 1000
	for i := range goroutines {
		all.Go(func() {
			for range times {
				if i%2 == 0 {
					mu.Lock()
					l.Lock()
					add(&n)
					l.Unlock()
					mu.Unlock()
				} else {
					for !l.Take() {
					}
					add(&n)
					l.Drop()
				}
			}
		})
	}
	all.Wait()
	if n != goroutines*times {
		t.Errorf("counted %d, want %d", n, goroutines*times)
	}
	l.Lock()
	if l.Take() {
		t.Error("taken twice")
	}
	l.Unlock()
	if !l.Take() {
		t.Error("a free latch was not taken")
	}
}

// add is not looked at by the race detector, which does not know what Take and Drop do.
//
//go:norace
//go:noinline
func add(n *int) { *n++ }
