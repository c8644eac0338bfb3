package guardtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/alloctest"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// fakeT is a test that ends when its cleanups are run.
type fakeT struct {
	testing.TB
	cleanups []func()
	errors   []string
	failed   bool // by FailNow
}

func (t *fakeT) Helper()          {}
func (t *fakeT) Name() string     { return "fake" }
func (t *fakeT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *fakeT) Errorf(format string, args ...any) {
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}
func (t *fakeT) FailNow()                          { t.failed = true; runtime.Goexit() }
func (t *fakeT) Fatalf(format string, args ...any) { t.Errorf(format, args...); t.FailNow() }

func (t *fakeT) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	t.cleanups = nil
}

// run runs a test to its end on a goroutine of its own.
func (t *fakeT) run(f func(testing.TB)) {
	done := make(chan bool)
	go func() {
		defer close(done)
		defer t.end()
		f(t)
	}()
	<-done
}

// kinds of fences, by name.
var kinds = map[string]func(testing.TB, []byte) []byte{
	"Fence": Fence, "FenceStart": FenceStart, "FenceReadOnly": FenceReadOnly,
	"FenceAligned": func(t testing.TB, data []byte) []byte { return FenceAligned(t, data, 64) },
}

func TestFenceHoldsTheData(t *testing.T) {
	for name, make := range kinds {
		for _, n := range []int{0, 1, 2, 63, 64, 65, guard.PageSize() - 1, guard.PageSize(), guard.PageSize() + 1, 16 * guard.PageSize(), 16*guard.PageSize() + 1, 1 << 20, 3<<20 + 5} {
			data := pattern(n)
			b := make(t, data)
			if !bytes.Equal(b, data) || cap(b) != n {
				t.Fatalf("%s of %d bytes: %d bytes with a capacity of %d, or others", name, n, len(b), cap(b))
			}
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); name == "FenceAligned" && at%64 != 0 || name == "FenceStart" && n > 0 && at%uintptr(guard.PageSize()) != 0 {
				t.Errorf("%s of %d bytes at %#x", name, n, at)
			}
		}
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// TestFenceFaultsAtEveryByte touches bytes beside fences of many lengths.
func TestFenceFaultsAtEveryByte(t *testing.T) {
	for name, make := range kinds {
		for n := 0; n < 130; n++ {
			var fake fakeT
			b := make(&fake, pattern(n))
			start, gap := unsafe.Pointer(unsafe.SliceData(b)), 0
			if name == "FenceAligned" {
				gap = -n & 63
			}
			for _, off := range []int{0, 1, 7, 100, 4096, aside/2 - 1, aside - 4096} {
				if n == 0 && off >= aside/2 {
					continue // it has guards on both sides, each half as long
				}
				behind := unsafe.Add(start, n+gap+off)
				before := unsafe.Add(start, -1-off)
				var err error
				if name != "FenceStart" {
					err = guard.Catch(func() { sink = *(*byte)(behind) })
					checkFence(t, name, err, guard.Overflow, n+gap+off, n)
				}
				if name == "FenceStart" || n == 0 {
					err = guard.Catch(func() { sink = *(*byte)(before) })
					checkFence(t, name, err, guard.Underflow, -1-off, n)
				}
			}
			if name == "FenceReadOnly" && n > 0 {
				checkFence(t, name, guard.Catch(func() { b[n/2] = 1 }), guard.Protected, n/2, n)
			}
			fake.end()
		}
	}
}

func checkFence(t *testing.T, name string, err error, kind guard.Kind, off, n int) {
	t.Helper()
	var f *guard.Fault
	if !errors.As(err, &f) || f.Kind != kind || f.Offset != off || f.Size != n || f.Region != "fence" {
		t.Fatalf("%s of %d bytes, touch at %d: %v", name, n, off, err)
	}
}

// TestFenceTellsOverwrittenCanaries writes to every byte beside data in turn.
func TestFenceTellsOverwrittenCanaries(t *testing.T) {
	page := guard.PageSize()
	for name, place := range map[string]func(n int) (make func(testing.TB, []byte) []byte, from, to int){
		"Fence":      func(n int) (func(testing.TB, []byte) []byte, int, int) { return Fence, n - page, -1 },
		"FenceStart": func(n int) (func(testing.TB, []byte) []byte, int, int) { return FenceStart, n, page - 1 },
		"FenceAligned": func(n int) (func(testing.TB, []byte) []byte, int, int) {
			return kinds["FenceAligned"], n, n + (-n & 63) - 1
		},
	} {
		for _, n := range []int{1, 33, 100} {
			make, from, to := place(n)
			for off := from; off <= to; off++ {
				var fake fakeT
				make(&fake, pattern(n))
				fake.end()
				if len(fake.errors) > 0 {
					t.Fatalf("%s of %d bytes: nobody wrote, but %v", name, n, fake.errors)
				}
				b := make(&fake, pattern(n))
				*(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)) ^= 1
				fake.end()
				want := fmt.Sprintf("guard: write at offset %d of a fence of length %d (canary)", off, n)
				if len(fake.errors) != 1 || fake.errors[0] != want {
					t.Fatalf("%s of %d bytes: %q, want %q", name, n, fake.errors, want)
				}
			}
		}
	}
}

// TestFenceCellsAreUsedAgain makes fences again and again: they take no more memory than those that are in use at a time.
func TestFenceCellsAreUsedAgain(t *testing.T) {
	use := func() {
		var fake fakeT
		for name, make := range kinds {
			for _, n := range []int{0, 10, 5000, 100 << 10} {
				if b := make(&fake, pattern(n)); len(b) != n {
					t.Error(name)
				}
			}
		}
		fake.end()
		if len(fake.errors) > 0 {
			t.Error(fake.errors)
		}
	}
	hundred := func() {
		for range 100 {
			use()
		}
	}
	hundred() // until enough batches are retired
	before := guard.Usage()
	hundred()
	if after := guard.Usage(); after.Regions != before.Regions || after.Committed != before.Committed {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestFenceRefuses(t *testing.T) {
	for _, align := range []int{-1, 0, 3, 2 * guard.PageSize()} {
		var fake fakeT
		fake.run(func(tb testing.TB) { FenceAligned(tb, nil, align); t.Error("went on") })
		if want := fmt.Sprintf("guard: fence: alignment %d must be a power of two up to %d", align, guard.PageSize()); !fake.failed || len(fake.errors) != 1 || fake.errors[0] != want {
			t.Errorf("%q, want %q", fake.errors, want)
		}
	}
	if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + 1}); err != nil {
		t.Fatal(err)
	}
	var fake fakeT
	fake.run(func(tb testing.TB) { Fence(tb, make([]byte, 200<<10)); t.Error("went on") })
	guard.SetBudget(guard.Budget{})
	if !fake.failed || len(fake.errors) != 1 || !strings.Contains(fake.errors[0], "no memory") {
		t.Errorf("without memory: %q", fake.errors)
	}
	fake = fakeT{}
	fake.run(func(tb testing.TB) { copy(Fence(tb, make([]byte, 200<<10)), "fine") })
	if fake.failed || len(fake.errors) > 0 {
		t.Errorf("with memory again: %q", fake.errors)
	}
}

// TestFenceFails lets every system call of a fence's life fail once.
func TestFenceFails(t *testing.T) {
	alloctest.SetQuarantine(t, 0) // else the quarantine gives way, and the failed call is made again
	// As after many fences, whatever tests ran before: the first fences of a process are hidden one by one, and a
	// refusal of that is not reported.
	defer fences.ended.Store(fences.ended.Load())
	fences.ended.Store(hiddenAtOnce)
	use := func(n int) *fakeT {
		var fake fakeT
		fake.run(func(tb testing.TB) { FenceReadOnly(tb, make([]byte, n)) })
		return &fake
	}
	for _, n := range []int{40 << 10, 200 << 10} { // pooled, and not
		for kind := vm.Kind(0); kind < vm.Kinds; kind++ {
			if kind == vm.Sigaction {
				continue // without a handler a fault ends the program: that is no error
			}
			for nth := 1; ; nth++ {
				if class, _ := cellClass(n); kind == vm.Mmap {
					*fences.of(class, true) = shelf{} // else the region is there already
				}
				stop := vm.Inject(kind, nth, vm.OutOfMemory)
				fake := use(n)
				made := stop()
				for _, n := range []int{n + 5*guard.PageSize(), n, n - 3*guard.PageSize()} { // of one class, if they are not pooled
					var again fakeT
					again.run(func(tb testing.TB) {
						if b := Fence(tb, pattern(n)); !bytes.Equal(b, pattern(n)) {
							t.Errorf("after failures of %v: a fence of %d bytes is not what it was made of", kind, n)
						}
						FenceReadOnly(tb, pattern(n))
					})
					if len(again.errors) > 0 {
						t.Errorf("after failures of %v: %q", kind, again.errors)
					}
				}
				if made < nth {
					break
				}
				if kind == vm.Madvise || kind == vm.Mmap {
					continue // may be a hint, or have been tried again
				}
				if len(fake.errors) != 1 || !strings.Contains(fake.errors[0], "guard: fence of") {
					t.Errorf("%v %d: %q", kind, nth, fake.errors)
				}
			}
		}
	}
}

// TestFenceWithoutFile makes read-only fences without a folder for their files, and then without room in it.
func TestFenceWithoutFile(t *testing.T) {
	const n = 3000
	class, _ := cellClass(n)
	expectMade := func(why string) {
		t.Helper()
		var fake fakeT
		for range 2 { // the second in the same place
			b := FenceReadOnly(&fake, pattern(n))
			for _, at := range []int{0, n - 1, n} {
				p := (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
				want := guard.Protected
				if at == n {
					want = guard.Overflow
				}
				var f *guard.Fault
				if err := guard.Catch(func() { *p = 1 }); !errors.As(err, &f) || f.Kind != want || f.Offset != at || f.Size != n {
					t.Errorf("%s: a write at %d: %v", why, at, err)
				}
			}
			if !bytes.Equal(b, pattern(n)) {
				t.Errorf("%s: the fence is not what it was made of", why)
			}
			fake.end()
		}
		copy(Fence(&fake, pattern(n)), "what is not read-only may be written to")
		fake.end()
	}
	defer func(old shelf) { *fences.of(class, true) = old }(*fences.of(class, true))
	defer func(old string) { inMemory = old }(inMemory)
	*fences.of(class, true) = shelf{}
	inMemory = t.TempDir() + "/none"
	t.Setenv("TMPDIR", inMemory)
	expectMade("without folder")

	inMemory = t.TempDir()
	batches, err := fences.grow(class, class*guard.PageSize(), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := batches[0].cells[0].file.Close(); err != nil { // writing to it is an error from here on
		t.Fatal(err)
	}
	*fences.of(class, true) = shelf{fresh: batches}
	expectMade("without room")
}

// TestOutsideFenceAfterItsEnd writes to fences of every kind after the end of their test: at once, where cells are
// hidden one by one, and after others were made. Every write faults, so no other fence changes.
func TestOutsideFenceAfterItsEnd(t *testing.T) {
	const later = batchCells + 4 // the batch is hidden, and no cell used again
	defer fences.ended.Store(fences.ended.Load())
	for name, make := range kinds {
		for _, n := range []int{1, 100, 3 * guard.PageSize(), 17 << 16} {
			for _, ended := range []int64{0, hiddenAtOnce} {
				class, _ := cellClass(n)
				*fences.of(class, name == "FenceReadOnly" && class <= pooledPages) = shelf{} // drop the cells of other tests
				fences.ended.Store(ended)
				var fake fakeT
				b := make(&fake, pattern(n))
				fake.end()
				for since := range later + 1 {
					if since == 0 && ended == 0 || since == withheldBatches && n > 16*guard.PageSize() || since == later && n <= 16*guard.PageSize() {
						for _, off := range []int{0, n / 2, n - 1, n} {
							p := (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off))
							var f *guard.Fault
							if err := guard.Catch(func() { *p ^= 1 }); !errors.As(err, &f) || f.Kind != guard.UseAfterFree || f.Offset != off || f.Size != n || f.Region != "fence" {
								t.Errorf("%s of %d bytes, %d were made since, touch at %d: %v", name, n, since, off, err)
							}
						}
						if since > 0 {
							break
						}
					}
					if other := make(&fake, pattern(n)); unsafe.SliceData(other) == unsafe.SliceData(b) {
						t.Fatalf("%s of %d bytes: used again for number %d after it", name, n, since)
					}
					if fake.end(); len(fake.errors) > 0 {
						t.Errorf("%s of %d bytes: another says %q", name, n, fake.errors)
					}
				}
			}
		}
	}
}

// TestOutsideFenceAfterItsEndIsReported ends a program by a touch of a fence after the end of its test.
func TestOutsideFenceAfterItsEndIsReported(t *testing.T) {
	if os.Getenv("FENCE_TEST_ENDED") != "" {
		var fake fakeT
		b := Fence(&fake, pattern(9))
		fake.end()
		b[3] = 1
		t.Error("went on")
		return
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("nothing is reported here: there is no handler")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOutsideFenceAfterItsEndIsReported$")
	cmd.Env = append(os.Environ(), "FENCE_TEST_ENDED=1")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	if want := `^guard: use after free in region "fence": address 0x[0-9a-f]+, offset 3 of 9\nunexpected fault address 0x`; !regexp.MustCompile(want).Match(out) {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

// TestOutsideFencesAreUsedAgainOldestFirst ends fences in some order, and finds their places again in it.
func TestOutsideFencesAreUsedAgainOldestFirst(t *testing.T) {
	for name, make := range kinds {
		for _, n := range []int{100, 17 << 16} {
			class, _ := cellClass(n)
			*fences.of(class, name == "FenceReadOnly" && class <= pooledPages) = shelf{} // drop the cells of other tests
			seen := map[*byte]int{}
			last := -1
			for i := range map[bool]int{true: 200, false: 10}[class <= pooledPages] {
				var fake fakeT
				p := unsafe.SliceData(make(&fake, pattern(n)))
				fake.end()
				if before, again := seen[p]; again {
					if i-before < withheldBatches || before/batchCells < last/batchCells {
						t.Fatalf("%s of %d bytes: the place of %d is used again for %d, after that of %d", name, n, before, i, last)
					}
					last = before
				}
				seen[p] = i
			}
			if last < 0 {
				t.Errorf("%s of %d bytes: no place is used again", name, n)
			}
		}
	}
}

// TestFenceIsNoLeak makes the first fence of a class, whose regions stay.
func TestFenceIsNoLeak(t *testing.T) {
	var fake fakeT
	CheckLeaks(&fake)
	const n = 2 << 20
	class, _ := cellClass(n)
	*fences.of(class, false) = shelf{} // drop the cells of other tests
	before := guard.Usage().Regions
	Fence(&fake, make([]byte, n))
	if guard.Usage().Regions == before {
		t.Error("no region was opened")
	}
	if fake.end(); len(fake.errors) > 0 {
		t.Errorf("%q", fake.errors)
	}
}

// TestFencesAreBounded makes more fences than may be there, of each kind in turn, and as many again after these are
// freed: memory that one kind keeps committed gives way to the next.
func TestFencesAreBounded(t *testing.T) {
	defer func(old int64) { mostCells = old }(mostCells)
	mostCells = 0
	fences.makeRoom() // memory that other tests lost stays
	mostCells = fences.committed.Load() + batchCells
	for range 2 {
		for name, make := range kinds {
			for _, n := range []int{100, 2 * guard.PageSize(), 17 << 16} {
				var fake fakeT
				made := 0
				fake.run(func(tb testing.TB) {
					for ; made < 2*batchCells; made++ {
						make(tb, pattern(n))
					}
				})
				if made != batchCells || len(fake.errors) != 1 || !strings.Contains(fake.errors[0], "vm.max_map_count") {
					t.Errorf("%s of %d bytes: %d were made, want %d: %q", name, n, made, batchCells, fake.errors)
				}
			}
		}
	}
}

// TestOutsideFenceOnSoftPanics makes fences while OnSoft panics: none of their memory is lost.
func TestOutsideFenceOnSoftPanics(t *testing.T) {
	committed := fences.committed.Load()
	for range 50 {
		budget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) { panic("soft") }})
		var fake fakeT
		func() {
			defer func() { _ = recover() }()
			Fence(&fake, make([]byte, 200<<10)) // is committed anew each time
			Fence(&fake, make([]byte, 200<<10))
		}()
		fake.end()
		if _, err := guard.SetBudget(guard.Budget{}); err != nil {
			t.Fatal(err)
		}
	}
	if now := fences.committed.Load(); now > committed+2 {
		t.Errorf("%d cells are committed, %d were", now, committed)
	}
}

func TestHammerFences(t *testing.T) {
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 300 {
				var fake fakeT
				want := pattern(g*100 + i)
				a, b := Fence(&fake, want), FenceStart(&fake, want)
				checkFence(t, "Fence", guard.Catch(func() { sink = *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(a)), len(a))) }), guard.Overflow, len(a), len(a))
				if !bytes.Equal(a, want) || !bytes.Equal(b, want) {
					t.Error("a fence is not what it was made of")
				}
				fake.errors = nil
				fake.end()
				if len(fake.errors) != 1 { // the touch
					t.Error(fake.errors)
				}
			}
			if debug.SetPanicOnFault(false) {
				t.Error("the goroutine panics on faults")
			}
		})
	}
	all.Wait()
}

// build compiles a package of testdata and returns the program.
func build(t *testing.T, pkg string, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program, which takes long")
	}
	program := filepath.Join(t.TempDir(), "test")
	args := append(append([]string{"test", "-c", "-o", program}, flags...), "./testdata/"+pkg)
	if out, err := exec.Command("go", args...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no go command")
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestFenceFailsTests runs tests that touch too much, in Go and in assembly.
func TestFenceFailsTests(t *testing.T) {
	program := build(t, "fence")
	run := func(flag, names string) string {
		out, err := exec.Command(program, "-test.v", flag, names).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%v\n%s", err, out)
		}
		return regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(strings.ReplaceAll(string(out), mustGetwd(t), "."), "0xADDR")
	}
	const (
		ends = "TestOtherPanic|TestGoroutine"
		pkg  = "github.com/seed-9a6c551e/offheap/guard/guardtest/testdata/fence"
	)
	reads, writes := pkg+".read (./testdata/fence/fence.go:15)", pkg+".write (./testdata/fence/fence.go:17)"
	adds := fmt.Sprintf("%s.sum (./testdata/fence/sum_%s.s:11)", pkg, runtime.GOARCH)
	out := run("-test.skip", ends)
	for test, want := range map[string]string{
		"ReadBehind":   "guard: touch at offset 9 of a fence of length 9 (overflow) by " + reads,
		"WriteBehind":  "guard: touch at offset 10 of a fence of length 9 (overflow) by " + writes,
		"ReadBefore":   "guard: touch at offset -1 of a fence of length 9 (underflow) by " + reads,
		"WriteBefore":  "guard: touch at offset -2 of a fence of length 9 (underflow) by " + writes,
		"ReadOnly":     "guard: touch at offset 3 of a fence of length 9 (access refused by protection) by " + writes,
		"EmptyBehind":  "guard: touch at offset 0 of a fence of length 0 (overflow) by " + reads,
		"EmptyBefore":  "guard: touch at offset -1 of a fence of length 0 (underflow) by " + reads,
		"Large":        "guard: touch at offset 100000 of a fence of length 100000 (overflow) by " + reads,
		"LargeStart":   "guard: touch at offset -1 of a fence of length 100000 (underflow) by " + reads,
		"Assembly":     "guard: touch at offset 9 of a fence of length 9 (overflow) by " + adds,
		"Recovered":    "guard: touch at offset 9 of a fence of length 9 (overflow) by " + reads,
		"Again":        "guard: touch at offset 9 of a fence of length 9 (overflow) by " + reads,
		"Sub":          "guard: touch at offset 4 of a fence of length 4 (overflow) by " + reads,
		"CanaryBefore": "guard: write at offset -1 of a fence of length 9 (canary)",
		"CanaryBehind": "guard: write at offset 9 of a fence of length 9 (canary)",
		"CanaryGap":    "guard: write at offset 15 of a fence of length 9 (canary)",
		"Fine":         "",
	} {
		_, after, _ := strings.Cut(out, "=== RUN   Test"+test+"\n")
		said, _, found := strings.Cut(after, ": Test"+test+" (")
		if failed := strings.HasSuffix(said, "--- FAIL"); !found || failed != (want != "") {
			t.Errorf("%s failed: %v", test, failed)
		}
		if lines := strings.Count(said, "guard: "); !strings.Contains(said, want) || want != "" && lines != 1 {
			t.Errorf("%s said\n%s\nwant one line:\n%s", test, said, want)
		}
		wentOn := map[string]bool{"Recovered": true, "Sub": true}
		if strings.Contains(said, "went on") != wentOn[test] {
			t.Errorf("%s: what is behind the fault was run, or not:\n%s", test, said)
		}
		panicked := want != "" && !strings.Contains(want, "canary") && !wentOn[test]
		if told := strings.Contains(said, "called by\n        "+pkg+".Test"+test+"\n"); told != panicked {
			t.Errorf("%s: who called is told: %v, want %v\n%s", test, told, panicked, said)
		}
	}

	// Faults that end the program, after a line about the touch.
	out = run("-test.run", "TestOtherPanic")
	if !strings.Contains(out, "guard: touch at offset 9 of a fence of length 9 (overflow) by "+reads) || !strings.Contains(out, "panic: another") {
		t.Errorf("a panic that is not the fault's:\n%s", out)
	}
	out = run("-test.run", "TestGoroutine")
	if !strings.Contains(out, "\nguard: overflow in region \"fence\": address 0xADDR, 1 bytes beyond the last of 9\nunexpected fault address 0xADDR\n") {
		t.Errorf("a fault on another goroutine:\n%s", out)
	}
}

func mustGetwd(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFenceFindsWhatFuzzingMisses runs the worked example: the same fuzzer with and without.
func TestFenceFindsWhatFuzzingMisses(t *testing.T) {
	program := build(t, "fields", "-fuzz", "Fuzz")
	fuzz := func(target string) (out string, err error) {
		dir := t.TempDir()
		cmd := exec.Command(program, "-test.run", "^$", "-test.fuzz", "^"+target+"$", "-test.fuzztime", "5000x", "-test.fuzzcachedir", dir, "-test.parallel", "1")
		cmd.Dir = dir // where a failing input is written
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	for _, target := range []string{"FuzzPlain", "FuzzHarmless"} {
		if out, err := fuzz(target); err != nil {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
	out, err := fuzz("FuzzFenced")
	if err == nil || !regexp.MustCompile(`guard: touch at offset (\d+) of a fence of length (\d+) \(overflow\) by .*fields\.Count \(.*fields\.go:\d+\)`).MatchString(out) || !strings.Contains(out, "Failing input written to") {
		t.Errorf("FuzzFenced: %v\n%s", err, out)
	}
}

func BenchmarkFence(b *testing.B) {
	for _, n := range []int{16, 4096, 64 << 10} {
		data := pattern(n)
		for name, make := range kinds {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var fake fakeT
				for b.Loop() {
					make(&fake, data)
					fake.end()
				}
			})
		}
	}
}
