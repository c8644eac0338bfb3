package region

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func find(name string) (in Info, ok bool) {
	for in := range Regions() {
		if in.Name == name {
			return in, true
		}
	}
	return Info{}, false
}

func TestRegions(t *testing.T) {
	page := PageSize()
	before := Usage()
	r := mustReserve(t, Config{Name: "listed", Size: 4 * page})
	if err := r.Commit(0, 2*page); err != nil {
		t.Fatal(err)
	}
	r.Bytes()[0] = 1
	r.CountLive(func() (int, int64, bool) { return 3, 100, true })
	in, ok := find("listed")
	if !ok {
		t.Fatal("not listed")
	}
	if in.Base != uintptr(r.Base()) || in.Size != r.Size() || in.Reserved != r.Reserved() ||
		in.Committed != int64(2*page) || in.Live != 100 || in.Leaked || !strings.Contains(in.Opened, "TestRegions") {
		t.Fatalf("%+v", in)
	}
	if n, err := r.Resident(); err == nil && (in.Resident != n || n != int64(page)) {
		t.Fatalf("resident %d, %d", in.Resident, n)
	}
	u := Usage()
	if u.Regions != before.Regions+1 || u.Committed-before.Committed != int64(2*page) || u.Reserved-before.Reserved != r.Reserved() || u.Live-before.Live != 100 {
		t.Fatalf("usage %+v, before %+v", u, before)
	}
	for in := range Regions() { // stopping early is allowed
		_ = in
		break
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := find("listed"); ok {
		t.Fatal("a closed region is listed")
	}
	after := Usage()
	if kept := after.Quarantined - before.Quarantined; kept < int64(2*page) || kept > r.Reserved() {
		t.Fatalf("quarantine went from %d to %d", before.Quarantined, after.Quarantined)
	}
	if after.Mappings != before.Mappings+1 { // the one in quarantine
		t.Fatalf("mappings went from %d to %d", before.Mappings, after.Mappings)
	}
	before.Quarantined, after.Quarantined, before.Resident, after.Resident = 0, 0, 0, 0
	before.Mappings, after.Mappings = 0, 0
	if after != before {
		t.Fatalf("before %+v, after %+v", before, after)
	}
}

func TestQuarantine(t *testing.T) {
	before := CurrentQuarantine()
	if old, err := SetQuarantine(-1); err == nil || old != before {
		t.Fatalf("a negative bound: %v, the old one is %d, was %d", err, old, before)
	}
	old, err := SetQuarantine(0)
	if err != nil || old != before || CurrentQuarantine() != 0 {
		t.Fatalf("%v: the old bound is %d, was %d; now it is %d", err, old, before, CurrentQuarantine())
	}
	defer SetQuarantine(old)
	if Usage().Quarantined != 0 {
		t.Fatal("a quarantine of 0 keeps addresses")
	}
	open := func() *Region {
		r := mustReserve(t, Config{Name: "q", Size: 1 << 20})
		if err := r.Commit(0, r.Size()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := open()
	size := int(first.Reserved())
	SetQuarantine(int64(2 * size))
	second, third := open(), open()
	for _, r := range []*Region{first, second} {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "oldest, within the bound", touch(first, 5), UseAfterClose, 5)
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	if lookup(uintptr(first.Base())) != nil {
		t.Fatal("the oldest is still kept beyond the bound")
	}
	expect(t, "second", touch(second, 5), UseAfterClose, 5)
	expect(t, "third", touch(third, 5), UseAfterClose, 5)
	if n := Usage().Quarantined; n != int64(2*size) {
		t.Fatalf("%d bytes quarantined, want %d", n, 2*size)
	}
	// Addresses in quarantine are not handed out again.
	for range 50 {
		r := open()
		for _, q := range []*Region{second, third} {
			if d := uintptr(r.Base()) - uintptr(q.Base()); r.Base() == q.Base() || d < uintptr(q.Size()) {
				t.Fatal("quarantined addresses were handed out")
			}
		}
	}
	SetQuarantine(int64(size))
	if lookup(uintptr(second.Base())) != nil || lookup(uintptr(third.Base())) == nil {
		t.Fatal("lowering the bound did not release the oldest, or not only that")
	}
}

// TestQuarantineKeepsWhatWasUsed closes a large region of which little was used: the quarantine keeps little.
func TestQuarantineKeepsWhatWasUsed(t *testing.T) {
	setQuarantine(t, 0)
	SetQuarantine(64 << 20)
	r := mustReserve(t, Config{Size: 256 << 20})
	if err := errors.Join(r.Commit(0, 1<<20), r.Decommit(0, 1<<20), r.Close()); err != nil {
		t.Fatal(err)
	}
	if kept := Usage().Quarantined; kept < 1<<20 || kept > 8<<20 {
		t.Fatalf("%d bytes are kept", kept)
	}
	for _, off := range []int{-1, 0, 1<<20 - 1, 1 << 20} {
		expect(t, "closed", touch(r, off), UseAfterClose, off)
	}
}

// TestReserveFallsBack makes the kernel refuse a reservation: it takes addresses out of the quarantine, then settles for less.
func TestReserveFallsBack(t *testing.T) {
	setQuarantine(t, 0)
	SetQuarantine(1 << 30)
	r := mustReserve(t, Config{Size: 1 << 20})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	stop := vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	again, err := Reserve(Config{Size: 1 << 20})
	if n := stop(); err != nil || n != 2 {
		t.Fatalf("with something in quarantine: %v after %d tries", err, n)
	}
	if Usage().Quarantined != 0 {
		t.Fatal("the quarantine was not used")
	}
	defer again.Close()
	stop = vm.Inject(vm.Mmap, 1, vm.OutOfMemory)
	half, err := Reserve(Config{Size: 4 << 20, MinSize: 1 << 20})
	if stop(); err != nil || half.Size() != 2<<20 {
		t.Fatalf("with MinSize: %v", err)
	}
	defer half.Close()
}

func TestHugeReservations(t *testing.T) {
	if testing.Short() || unsafe.Sizeof(uintptr(0)) == 4 || vm.Probe().AddressSpace != vm.Unlimited {
		t.Skip("addresses are scarce here, or each costs time (-short, for emulators)")
	}
	half := 8 << (unsafe.Sizeof(uintptr(0)) * 5) // 8 TiB
	r := mustReserve(t, Config{Size: 2 * half})
	setQuarantine(t, 0)
	if err := r.Commit(half, PageSize()); err != nil {
		t.Fatal(err)
	}
	r.Bytes()[half] = 1
}

func TestLeakIsReported(t *testing.T) {
	reports := make(chan Info, 10)
	SetOnLeak(func(in Info) { reports <- in })
	defer SetOnLeak(nil)
	page := PageSize()
	closed, err := Reserve(Config{Name: "closed", Size: page})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	base := func() unsafe.Pointer {
		r, err := Reserve(Config{Name: "leaked", Size: page})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(0, page); err != nil {
			t.Fatal(err)
		}
		return r.Base()
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case in := <-reports:
			if in.Name == "closed" {
				t.Fatal("a closed region is reported")
			}
			if in.Name != "leaked" {
				continue
			}
			if !in.Leaked || in.Committed != int64(page) || !strings.Contains(in.Opened, "TestLeakIsReported") {
				t.Fatalf("%+v", in)
			}
			*(*byte)(base) = 1 // still mapped: nothing depends on the collector
			if in, ok := find("leaked"); !ok || !in.Leaked {
				t.Fatal("a leaked region is not listed as such")
			}
			rec := lookup(uintptr(base))
			(&Region{rec: rec, base: rec.base}).Close()
			return
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("no report")
			}
		}
	}
}

func TestHammerRegistry(t *testing.T) {
	setQuarantine(t, 8<<20)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				r, err := Reserve(Config{Size: 1 << 20})
				if err != nil {
					t.Error(err)
					return
				}
				if f := touch(r, -1); f == nil || f.Kind != Underflow {
					t.Errorf("fault %v", f)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			Usage()
		}
	})
	wg.Wait()
	if n := Usage().Quarantined; n > 8<<20 {
		t.Fatalf("%d bytes quarantined, bound 8 MiB", n)
	}
}

func TestKeepZeroes(t *testing.T) {
	setQuarantine(t, 1<<30)
	page := PageSize()
	r := mustReserve(t, Config{Name: "header", Size: 4 * page})
	if r.KeepZeroes(page/2) == nil || r.KeepZeroes(5*page) == nil {
		t.Error("what are not pages of the region can be kept readable")
	}
	if err := errors.Join(r.KeepZeroes(page), r.Commit(0, 4*page)); err != nil {
		t.Fatal(err)
	}
	clear(r.Bytes())
	r.Bytes()[0], r.Bytes()[page-1] = 1, 1
	before := Usage().Committed
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if f := touch(r, 0); f != nil || r.Bytes()[0] != 0 || r.Bytes()[page-1] != 0 {
		t.Errorf("what was to stay readable gives %v", f)
	}
	if f := poke(r, 0); f != nil { // by a call that comes late
		t.Errorf("a write gives %v", f)
	}
	expect(t, "the rest", touch(r, page), UseAfterClose, page)
	if got := before - Usage().Committed; got != int64(4*page) {
		t.Errorf("%d bytes were refunded", got)
	}
}

// TestOpenedIsTheWholeStack opens a region deep in a stack: Info.Opened has all callers, not only the nearest.
func TestOpenedIsTheWholeStack(t *testing.T) {
	var r *Region
	var down func(n int)
	down = func(n int) {
		if n > 0 {
			down(n - 1)
			return
		}
		r = mustReserve(t, Config{Name: "deep", Size: 1})
	}
	down(30)
	for in := range Regions() {
		if in.Base == uintptr(r.Base()) {
			if !strings.Contains(in.Opened, "region.TestOpenedIsTheWholeStack\n") {
				t.Errorf("the test is not in its stack:\n%s", in.Opened)
			}
			return
		}
	}
	t.Error("the region is not among all")
}

// setQuarantine bounds the quarantine until the test ends.
func setQuarantine(t testing.TB, bytes int64) {
	t.Helper()
	old, err := SetQuarantine(bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { SetQuarantine(old) })
}

// flushQuarantine releases all regions that are in quarantine.
func flushQuarantine() {
	old, _ := SetQuarantine(0)
	SetQuarantine(old)
}
