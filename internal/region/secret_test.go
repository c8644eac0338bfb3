package region

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// secret reserves a Secret region that goes on where the limit refuses the lock.
func secret(t *testing.T, pages int) *Region {
	t.Helper()
	return secretOf(t, Config{Name: "secret", Size: pages * PageSize(), Secret: true, MaySwap: true})
}

func secretOf(t *testing.T, c Config) *Region {
	t.Helper()
	r, err := Reserve(c)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("no secrets on this system: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// locked returns how many bytes the process has locked.
func locked(t *testing.T) int {
	t.Helper()
	return status(t, "VmLck:")
}

func status(t *testing.T, figure string) (bytes int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, line, found := strings.Cut(string(text), figure)
	if !found {
		t.Skipf("this system does not tell %q", figure)
	}
	if _, err := fmt.Sscanf(line, "%d kB", &bytes); err != nil {
		t.Fatalf("%v in %.20q", err, line)
	}
	return bytes << 10
}

// TestSecretIsLocked checks that committed memory is locked, guarded or not, after every call.
func TestSecretIsLocked(t *testing.T) {
	page := PageSize()
	before := locked(t)
	r := secretOf(t, Config{Size: 8 * page, Secret: true, Prefault: true, HugePages: true})
	expectLocked := func(what string, pages int) {
		t.Helper()
		if got := locked(t) - before; got != pages*page {
			t.Errorf("%s: %d bytes are locked, want %d pages", what, got, pages)
		}
	}
	do := func(what string, pages int, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		expectLocked(what, pages)
	}
	if err := r.Commit(0, 4*page); errors.Is(err, ErrNoMemory) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if locked(t) == before {
		t.Skip("this system locks nothing, or does not count it") // an emulator
	}
	expectLocked("Commit", 4)
	do("Commit again", 6, r.Commit(2*page, 4*page))
	do("Protect", 6, r.Protect(0, page, vm.Read))
	do("Guard", 6, r.Guard(page, 2*page))
	do("Unguard", 6, r.Unguard(page, page))
	do("Discard", 6, r.Discard(3*page, page))
	do("Lock", 6, r.Lock(3*page, page))
	do("Decommit", 4, r.Decommit(0, 2*page))
	do("Decommit of a guard", 3, r.Decommit(2*page, page))
	if err := r.Unlock(0, 8*page); !errors.Is(err, errSecret) {
		t.Errorf("Unlock: %v", err)
	}
	expectLocked("Unlock", 3)
	do("Close", 0, r.Close())
}

// TestSecretIsWiped lets a call fail after the memory was overwritten: it is still there to look at.
func TestSecretIsWiped(t *testing.T) {
	page := PageSize()
	for _, way := range []struct {
		name  string
		out   func(r *Region) error
		kind  vm.Kind
		nth   int // the call of the kind that fails; 0 where none is made
		bytes int // from the first, that are wiped
	}{
		{"Decommit", func(r *Region) error { return r.Decommit(0, 3*page) }, vm.Mmap, 1, 3 * page},
		{"Guard", func(r *Region) error { return r.Guard(0, 3*page) }, vm.Mprotect, 2, 3 * page},
		{"Close", (*Region).Close, vm.Mmap, 1, 4 * page},
		{"Discard", func(r *Region) error { return r.Discard(0, 3*page) }, vm.Madvise, 0, 3 * page},
	} {
		for prot := vm.None; prot <= vm.ReadExecute; prot++ {
			if way.name == "Discard" && prot != vm.ReadWrite {
				continue // it is refused
			}
			what := fmt.Sprintf("%s of %v memory", way.name, prot)
			r := secret(t, 4)
			if err := r.Commit(0, 4*page); err != nil {
				t.Fatal(err)
			}
			for i := range r.Bytes() {
				r.Bytes()[i] = 0xA5
			}
			if err := r.Protect(0, 4*page, prot); err != nil {
				t.Fatal(err)
			}
			stop := vm.Inject(way.kind, way.nth, vm.OutOfMemory)
			err := way.out(r)
			calls := stop()
			if (err != nil) != (way.nth > 0) || calls < way.nth || way.nth == 0 && calls > 0 {
				t.Fatalf("%s: %v after %d calls", what, err, calls)
			}
			// All else is as it was.
			if prot != vm.ReadWrite {
				expect(t, what, poke(r, page), Protected, page)
			}
			if err := r.Protect(0, 4*page, vm.ReadWrite); err != nil {
				t.Fatal(err)
			}
			for i, b := range r.Bytes() {
				if wiped := i < way.bytes; wiped != (b == 0) {
					t.Fatalf("%s: byte %d is %#x; %d should be wiped", what, i, b, way.bytes)
				}
			}
		}
	}
}

// TestSecretStays makes the calls that would take a secret elsewhere, or its lock away: they are refused, and change nothing.
func TestSecretStays(t *testing.T) {
	page := PageSize()
	r, empty := secret(t, 4), secret(t, 4)
	plain, other := mustReserve(t, Config{Size: 4 * page}), mustReserve(t, Config{Size: 4 * page})
	f := letters(t, 1)
	defer f.Close()
	if err := errors.Join(r.Commit(0, page), plain.Commit(0, page), r.Guard(2*page, page)); err != nil {
		t.Fatal(err)
	}
	r.Bytes()[0], plain.Bytes()[0] = 1, 1
	for what, call := range map[string]struct {
		err, want error
	}{
		"Move":                     {r.Move(other, page), errSecret},
		"Move to a secret":         {plain.Move(empty, page), errSecret},
		"Move from secret to such": {r.Move(empty, page), errSecret},
		"MapFile":                  {r.MapFile(page, page, f, 0, vm.Read), errSecret},
		"Unlock":                   {r.Unlock(0, page), errSecret},
		"Commit of a guard":        {r.Commit(0, 4*page), errGuardsSecret},
	} {
		if !errors.Is(call.err, call.want) {
			t.Errorf("%s: got %v, want %v", what, call.err, call.want)
		}
	}
	if n := r.Committed() + plain.Committed() + other.Committed() + empty.Committed(); n != int64(2*page) || r.Bytes()[0] != 1 || plain.Bytes()[0] != 1 {
		t.Errorf("%d bytes are committed, the first are %d and %d", n, r.Bytes()[0], plain.Bytes()[0])
	}
	expect(t, "not committed before the guard", touch(r, page), Decommitted, page)
	if err := errors.Join(r.Unguard(0, 4*page), r.Commit(0, 4*page)); err != nil {
		t.Error(err)
	}
	if _, err := Reserve(Config{Size: page, MaySwap: true}); err == nil {
		t.Error("MaySwap without Secret was taken")
	}
}

// TestSecretThatWouldBeDumped makes the kernel refuse to leave a region out of cores: it is not reserved, and its addresses are
// free.
func TestSecretThatWouldBeDumped(t *testing.T) {
	const size = 1 << 30
	secret(t, 1)
	before := status(t, "VmSize:")
	for _, cause := range []error{vm.OutOfMemory, vm.ErrUnsupported} {
		stop := vm.Inject(vm.Madvise, 1, cause)
		_, err := Reserve(Config{Size: size, Secret: true})
		stop()
		if !errors.Is(err, cause) && !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), "core dumps") {
			t.Errorf("got %v, want one that is about core dumps and %v", err, cause)
		}
	}
	if more := status(t, "VmSize:") - before; more >= size {
		t.Errorf("%d bytes of addresses are lost", more)
	}
}

// TestFailSecret makes every call of a Secret region fail once: the error comes back, the secret stays locked or is gone, and
// the next call works.
func TestFailSecret(t *testing.T) {
	setQuarantine(t, 0)
	page := PageSize()
	secret(t, 1)
	lockable := func() bool {
		r := secretOf(t, Config{Size: 8 * page, Secret: true})
		defer r.Close()
		before := locked(t)
		return r.Commit(0, 8*page) == nil && locked(t) == before+8*page
	}()
	scenario := func(what string) (errs []error) {
		try := func(call string, f func() error) {
			t.Helper()
			if err := f(); err != nil {
				errs = append(errs, err)
				if err := f(); err != nil {
					t.Errorf("%s: %s failed again: %v", what, call, err)
				}
			}
		}
		before := 0
		if lockable {
			before = locked(t)
		}
		var r *Region
		expectLocked := func(pages int) {
			t.Helper()
			if r.Committed() != int64(pages*page) {
				t.Errorf("%s: %d bytes are committed, want %d pages", what, r.Committed(), pages)
			}
			if !lockable {
				return
			}
			if got := locked(t) - before; got != pages*page {
				t.Errorf("%s: %d bytes are locked, want %d pages", what, got, pages)
			}
		}
		try("Reserve", func() (err error) {
			r, err = Reserve(Config{Size: 8 * page, Secret: true, MaySwap: !lockable, Prefault: true})
			return err
		})
		try("Commit", func() error {
			err := r.Commit(page, 2*page)
			if err != nil {
				expectLocked(0)
			}
			return err
		})
		try("Commit around", func() error { return r.Commit(0, 8*page) })
		expectLocked(8)
		r.Bytes()[0], r.Bytes()[3*page], r.Bytes()[5*page] = 1, 1, 1
		try("Protect", func() error { return r.Protect(4*page, 2*page, vm.Read) })
		try("Guard", func() error { return r.Guard(page, 2*page) })
		expectLocked(8)
		try("Unguard", func() error { return r.Unguard(0, 4*page) })
		try("Discard", func() error { return r.Discard(3*page, page) })
		try("Decommit", func() error {
			err := r.Decommit(2*page, 4*page)
			if err != nil && r.Committed() > int64(4*page) && errs == nil {
				expectLocked(int(r.Committed()) / page)
			}
			return err
		})
		expectLocked(4)
		if b := r.Bytes(); b[0] != 1 || b[page] != 0 {
			t.Errorf("%s: contents are %d and %d", what, b[0], b[page])
		}
		expect(t, what, touch(r, 3*page), Decommitted, 3*page)
		try("Close", func() error {
			err := r.Close()
			if err != nil {
				expectLocked(4)
			}
			return err
		})
		if lockable && locked(t) != before {
			t.Errorf("%s: %d bytes stay locked", what, locked(t)-before)
		}
		return errs
	}
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		if errs := scenario("nothing injected"); errs != nil {
			t.Fatalf("nothing injected: %v", errs)
		}
		calls := stop()
		for nth := 1; nth <= calls; nth++ {
			before := Usage()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			errs := scenario(fmt.Sprintf("%v %d of %d", kind, nth, calls))
			stop()
			// What Close does when all is inaccessible it makes up for; the region's addresses go when
			// the next one's do.
			unnoticed := kind == vm.Munmap || kind == vm.Munlock && nth == calls || kind == vm.Madvise && nth >= calls-1
			if len(errs) > 1 || len(errs) == 0 && !unnoticed {
				t.Errorf("%v %d of %d: one failure gave %d errors: %v", kind, nth, calls, len(errs), errs)
			}
			SetQuarantine(1)
			SetQuarantine(0)
			after := Usage()
			before.Resident, after.Resident = 0, 0
			if before != after {
				t.Errorf("%v %d of %d: before %+v, after %+v", kind, nth, calls, before, after)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
		t.Logf("%-8v %2d positions", kind, calls)
	}
}
