//go:build linux && (amd64 || arm64)

package region

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// reported is a report as the handler finds it.
type reported struct {
	name               string
	base, size         uintptr
	below, in, further string
}

// reportAt finds the report of a fault as the handler does; ok is false if there is none.
func reportAt(addr uintptr, sig syscall.Signal) (r reported, ok bool) {
	found, kinds := findReport(addr, uintptr(sig))
	if found == nil {
		return reported{}, false
	}
	name, _ := strconv.Unquote(found.Region)
	r = reported{name, found.Base, found.Size, kinds.Before, kinds.Inside, kinds.Beyond}
	doneReport()
	return r, true
}

// kindAt returns the kind of a touch of an address.
func (r reported) kindAt(addr uintptr) Kind {
	switch {
	case addr < r.base:
		return Kind(r.below)
	case addr-r.base >= r.size:
		return Kind(r.further)
	}
	return Kind(r.in)
}

// TestReportsAgreeWithLocate changes a region at random, and holds the report of each OS page to Locate.
func TestReportsAgreeWithLocate(t *testing.T) {
	modes(t, func(t *testing.T) {
		const pages = 40
		page := PageSize()
		f, err := os.Create(t.TempDir() + "/file")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(int64(pages / 2 * page)); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		seen := map[Kind]int{}
		for range 20 {
			r := mustReserve(t, Config{Name: "changed", Size: pages * page})
			base := uintptr(r.Base())
			for step := range 40 {
				at := random.IntN(pages)
				off, n := at*page, (1+random.IntN(pages-at))*page
				// The calls that cannot be fail, and change nothing.
				switch random.IntN(9) {
				case 0, 1:
					_ = r.Commit(off, n)
				case 2:
					_ = r.Decommit(off, n)
				case 3:
					_ = r.Guard(off, min(n, 3*page))
				case 4:
					_ = r.Unguard(off, n)
				case 5, 6:
					_ = r.Protect(off, n, []vm.Prot{vm.None, vm.Read, vm.ReadWrite}[random.IntN(3)])
				case 7:
					_ = r.MapFile(off, n, f, 0, []vm.Prot{vm.Read, vm.ReadWrite}[random.IntN(2)])
				case 8:
					if stride := (2 + random.IntN(3)) * page; r.rec.guards.row.count == 0 {
						_ = r.GuardRow(off, page, stride, max((pages*page-off)/stride, 1))
					}
				}
				if step == 39 {
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
				}
				for addr := base - GuardSize; addr < base+uintptr(pages*page+GuardSize); addr += uintptr(page) {
					addr := addr + uintptr(random.IntN(page))
					want := Locate(addr)
					if want == nil { // the quarantine keeps what was used
						if _, ok := reportAt(addr, syscall.SIGSEGV); ok {
							t.Fatalf("%#x is in no region, but has a report", addr)
						}
						continue
					}
					seen[want.Kind]++
					sig := syscall.SIGSEGV
					if want.Kind == Truncated {
						sig = syscall.SIGBUS
					}
					got, ok := reportAt(addr, sig)
					if !ok || got.kindAt(addr) != want.Kind || got.name != want.Region || got.base != base || got.size != uintptr(want.Size) || int(addr-base) != want.Offset {
						t.Fatalf("offset %d: %+v, %q; want %+v", int(addr-base), got, got.kindAt(addr), want)
					}
					if _, ok := reportAt(addr, syscall.SIGBUS); ok && !isFile(r, addr-base) {
						t.Fatalf("offset %d shows no file, and is reported for a SIGBUS", int(addr-base))
					}
				}
			}
		}
		for _, k := range []Kind{Underflow, Overflow, UseAfterClose, Decommitted, Guarded, Protected, Truncated} {
			if seen[k] == 0 {
				t.Errorf("no touch was of the kind %q", k)
			}
		}
	})
}

func isFile(r *Region, off uintptr) bool {
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	_, file := r.rec.files.at(off)
	return file
}

// TestReportOfABusyRegion looks for a report while another goroutine holds a lock all the time.
func TestReportOfABusyRegion(t *testing.T) {
	r := mustReserve(t, Config{Name: "busy", Size: PageSize()})
	addr := uintptr(r.Base())
	r.rec.mu.Lock()
	before := time.Now()
	got, ok := reportAt(addr, syscall.SIGSEGV)
	took := time.Since(before)
	r.rec.mu.Unlock()
	if want := "touch of inaccessible memory"; !ok || got.name != "busy" || got.in != want || took < 50*time.Millisecond {
		t.Errorf("%+v after %v, want %q", got, took, want)
	}
	registry.mu.Lock()
	registry.latch.Lock()
	got, ok = reportAt(addr, syscall.SIGSEGV)
	registry.latch.Unlock()
	registry.mu.Unlock()
	if ok {
		t.Errorf("%+v is found while the registry changes", got)
	}
	if got, ok := reportAt(addr, syscall.SIGSEGV); !ok || got.in != string(Decommitted) {
		t.Errorf("%+v, %v afterwards", got, ok)
	}
}

// TestChangesWaitForTheHandler changes the registry and the books of a region while a handler looks at them.
func TestChangesWaitForTheHandler(t *testing.T) {
	r := mustReserve(t, Config{Size: PageSize()})
	other := mustReserve(t, Config{Size: PageSize()})
	var fresh *Region
	for _, c := range []struct {
		what   string
		latch  *trap.Latch
		change func() error
	}{
		{"Reserve", &registry.latch, func() (err error) { fresh, err = Reserve(Config{Size: 1}); return err }},
		{"release", &registry.latch, func() error {
			if err := fresh.Close(); err != nil || !releaseOldest() {
				return fmt.Errorf("nothing was released, %v", err)
			}
			return nil
		}},
		{"Commit", &r.rec.mu.latch, func() error { return r.Commit(0, PageSize()) }},
		{"Move to", &other.rec.mu.latch, func() error { return r.Move(other, PageSize()) }},
		{"Guard", &r.rec.mu.latch, func() error { return r.Guard(0, PageSize()) }},
		{"Close", &r.rec.mu.latch, r.Close},
	} {
		if !c.latch.Take() {
			t.Fatalf("%s: the latch is taken", c.what)
		}
		done := make(chan error, 1)
		go func() { done <- c.change() }()
		select {
		case err := <-done:
			t.Errorf("%s does not wait for the handler: %v", c.what, err)
			c.latch.Drop()
		case <-time.After(10 * time.Millisecond):
			c.latch.Drop()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	}
}

// TestHammerReports looks for reports while goroutines reserve, change and close regions.
func TestHammerReports(t *testing.T) {
	rounds := 2000
	if testing.Short() || race.Enabled { // the detector makes a round ten times as long
		rounds = 200
	}
	page := PageSize()
	const pages = 16
	kinds := []Kind{Underflow, Overflow, UseAfterClose, Decommitted, Guarded, Protected, Kind(busyKinds.Inside)}
	var places sync.Map // addresses in regions, by number
	var changing, looking sync.WaitGroup
	stop := make(chan bool)
	var found atomic.Int64
	for g := range 4 {
		changing.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 3))
			for i := range rounds {
				r, err := Reserve(Config{Name: fmt.Sprintf("hammered %d.%d", g, i), Size: pages * page})
				if err != nil {
					t.Error(err)
					return
				}
				places.Store(g, uintptr(r.Base()))
				for range 10 {
					off := random.IntN(pages) * page
					var err error
					switch random.IntN(3) {
					case 0:
						err = r.Commit(off, page)
					case 1:
						err = r.Decommit(off, page)
					case 2:
						err = r.Guard(off, page)
					}
					if err != nil {
						t.Error(err)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					releaseOldest()
				}
			}
		})
	}
	for g := range 2 {
		looking.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 4))
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Microsecond): // the others get on
				}
				base, ok := places.Load(random.IntN(4))
				if !ok {
					continue
				}
				addr := base.(uintptr) + uintptr(random.IntN((pages+20)*page)) - uintptr(10*page)
				got, ok := reportAt(addr, syscall.SIGSEGV)
				if !ok {
					continue // released
				}
				found.Add(1)
				if kind := got.kindAt(addr); !slices.Contains(kinds, kind) || got.size != uintptr(pages*page) || len(got.name) < len("hammered 0.0") {
					t.Errorf("%+v, %q", got, kind)
				}
			}
		})
	}
	changing.Wait()
	close(stop)
	looking.Wait()
	if found.Load() == 0 {
		t.Error("no report was found")
	}
}

// TestReportFaultsTwice turns reports on again.
func TestReportFaultsTwice(t *testing.T) {
	for range 2 {
		if err := ReportFaults(); errors.Is(err, errors.ErrUnsupported) || err != nil {
			t.Error(err)
		}
	}
}
