package table

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// kept is what a call may keep of an arena.
type kept struct {
	live      int64
	callbacks int // registered with OnReset
}

// keeping looks into an arena.
type keeping struct {
	a         *arena.Arena
	onReset   *[]struct{} // of another type: only its length is read
	cancelled *int
}

func keepingOf(a *arena.Arena) keeping {
	v := reflect.ValueOf(a).Elem()
	return keeping{a, (*[]struct{})(unsafe.Pointer(v.FieldByName("onReset").UnsafeAddr())), (*int)(unsafe.Pointer(v.FieldByName("cancelled").UnsafeAddr()))}
}

func (k *keeping) kept() kept { return kept{k.a.Stats().Live, len(*k.onReset) - *k.cancelled} }

// failing makes calls that may fail. It checks that a call that fails keeps nothing, and tries it again.
type failing struct {
	t    *testing.T
	what string
	keeping
	lift    func() // ends what makes calls fail; nil where it happens once
	forKeys bool   // a failed call has kept memory for keys, since the last that did not fail
	failed  int
}

func (f *failing) try(op string, call func() error) {
	f.t.Helper()
	before := f.kept()
	err := call()
	if err == nil {
		f.forKeys = false
		return
	}
	f.failed++
	f.refused(op, err, before)
	if f.lift != nil {
		f.lift()
	}
	if err := call(); err != nil {
		f.t.Fatalf("%s: %s failed again: %v", f.what, op, err)
	}
}

// run calls everything that allocates.
func (f *failing) run(n int) {
	for kind, open := range newNumbered {
		for _, hint := range []int{0, n / 2} {
			var m numbered
			f.try("New"+kind, func() (err error) { m, err = open(f.a, hint); return err })
			for i := range uint64(n) {
				f.try(kind+".TryPut", func() error {
					length := m.len()
					err := m.put(i)
					if err != nil && (m.len() != length || m.get(i)) {
						f.t.Errorf("%s: a TryPut that failed changed the table", f.what)
					}
					return err
				})
				if i%3 == 0 {
					m.delete(i / 2)
				}
			}
			m.check()
			present := 0
			for i := range uint64(n) {
				if m.get(i) {
					present++
				}
			}
			if present != m.len() {
				f.t.Errorf("%s: %s: %d entries are found, Len is %d", f.what, kind, present, m.len())
			}
		}
	}
}

// TestOutsideFailedCallsOfSystem: system calls fail, each once. A call of the table that fails keeps nothing.
func TestOutsideFailedCallsOfSystem(t *testing.T) {
	scenario := func(what string) {
		a, err := arena.Open(arena.Config{Prefault: true, Reserve: 16 << 20})
		if err != nil {
			return
		}
		(&failing{t: t, what: what, keeping: keepingOf(a)}).run(sizes(2_000, 6_000)[0])
		if err := a.Close(); err != nil {
			a.Close()
		}
	}
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		scenario("nothing fails")
		for nth := 1; nth <= stop(); nth++ {
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			scenario(fmt.Sprintf("%v %d fails", kind, nth))
			stop()
		}
	}
}

// TestOutsideFailedCallsAtBudget: the process's budget is reached, at many places. A call of the table that fails
// keeps nothing.
func TestOutsideFailedCallsAtBudget(t *testing.T) {
	lift := func() { guard.SetBudget(guard.Budget{}) }
	defer lift()
	failed := 0
	for pages := 1; ; pages += 1 + pages/8 {
		a := openTest(t, arena.Config{})
		if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + int64(pages*guard.PageSize())}); err != nil {
			t.Fatal(err)
		}
		f := &failing{t: t, what: fmt.Sprintf("%d OS pages", pages), keeping: keepingOf(a), lift: lift}
		f.run(sizes(2_000, 6_000)[0])
		lift()
		a.Close()
		if f.failed == 0 {
			break // that was enough
		}
		failed++
	}
	if failed < 10 {
		t.Errorf("calls failed with %d budgets only", failed)
	}
}

// TestOutsideFailedCallsAtLimit fills tables in arenas with many Limits. A call of the table that fails keeps
// nothing, however often it is tried. All entries stay, and one can be replaced by another.
func TestOutsideFailedCallsAtLimit(t *testing.T) {
	most := sizes(10_000, 60_000)[0]
	kinds := map[string]func(a *arena.Arena, hint int) (numbered, error){
		"Map":     newNumbered["Map"],
		"Strings": newNumbered["Strings"],
		"Strings with long keys": func(a *arena.Arena, hint int) (numbered, error) {
			m, err := TryNewStrings[uint64](a, hint)
			return newNumberedStrings(m, 8, 2000), err
		},
	}
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			opened := 0
			for limit := 64; limit < most; limit += 56 + limit/32&^7 {
				a := openTest(t, arena.Config{Limit: limit})
				for hint := range 2 {
					hint *= limit / 50
					a.Reset()
					f := &failing{t: t, what: fmt.Sprintf("%s in %d bytes, hint %d", kind, limit, hint), keeping: keepingOf(a)}
					before := f.kept()
					m, err := open(a, hint)
					if err != nil {
						f.refused("New", err, before)
						continue
					}
					opened++
					n := uint64(0)
					for again := 0; again < 20; {
						before := f.kept()
						if err := m.put(n); err != nil {
							f.refused(kind+".TryPut", err, before)
							again++
							if m.len() != int(n) || m.get(n) {
								t.Fatalf("%s: %d entries after %d insertions", f.what, m.len(), n)
							}
							continue
						}
						if again > 0 && kind == "Map" {
							t.Fatalf("%s: an insertion succeeds after %d failures", f.what, again)
						}
						n++
						f.forKeys = false
					}
					for i := range n {
						if !m.get(i) {
							t.Fatalf("%s: %d of %d is lost", f.what, i, n)
						}
					}
					if n > 0 {
						if !m.delete(n/2) || m.put(n/2) != nil || !m.get(n/2) {
							t.Fatalf("%s: an entry of %d cannot be deleted and put", f.what, n)
						}
					}
					m.check()
				}
				a.Close()
			}
			if opened < 10 {
				t.Errorf("only %d tables were opened", opened)
			}
		})
	}
}

// refused checks an error, and that the call kept nothing. A Strings may keep the memory that it got for the bytes of a
// key whose entry then found none: it takes them for the next key. So the next failure keeps nothing more.
func (f *failing) refused(op string, err error, before kept) {
	f.t.Helper()
	if !errors.Is(err, guard.ErrNoMemory) {
		f.t.Fatalf("%s: %s: %v", f.what, op, err)
	}
	now := f.kept()
	if forKeys := now.live - before.live; strings.HasPrefix(op, "Strings") && strings.HasSuffix(op, ".TryPut") && forKeys > 0 && !f.forKeys {
		f.forKeys, before.live = true, now.live
	}
	if now != before {
		f.t.Fatalf("%s: %s failed, and the arena has %+v, before %+v", f.what, op, now, before)
	}
}
