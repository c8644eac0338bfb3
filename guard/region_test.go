package guard

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestRegion calls every method of a Region, in the order of a region's life. What they do in all cases is tested
// in internal/region.
func TestRegion(t *testing.T) {
	page := PageSize()
	r := mustReserve(t, Config{Name: "face", Size: 8 * page, MinSize: page})
	if r.Name() != "face" || r.Size() != 8*page || len(r.Bytes()) != 8*page || r.Reserved() < int64(8*page) || unsafe.Pointer(unsafe.SliceData(r.Bytes())) != r.Base() {
		t.Fatalf("%q of %d bytes, %d reserved", r.Name(), r.Size(), r.Reserved())
	}
	expect(t, "fresh", touch(r, 0), Decommitted, 0)
	mustDo(t, r.Commit(0, 4*page))
	if f := poke(r, 5); f != nil || r.Committed() != int64(4*page) {
		t.Fatalf("%v, %d committed", f, r.Committed())
	}
	if n, err := r.Resident(); err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && n != int64(page) {
		t.Fatalf("%d resident, %v", n, err)
	}
	mustDo(t, r.Protect(page, page, Read))
	expect(t, "read only", poke(r, page), Protected, page)
	mustDo(t, r.Protect(page, page, ReadWrite))

	mustDo(t, r.Guard(page, page))
	expect(t, "guarded", touch(r, page), Guarded, page)
	mustDo(t, r.Unguard(page, page))
	if f := poke(r, page); f != nil {
		t.Fatal(f)
	}
	mustDo(t, r.Discard(0, 2*page))
	if r.Bytes()[5] != 0 || r.Bytes()[page] != 0 || r.Committed() != int64(4*page) {
		t.Fatal("what was discarded does not read zero, or is not committed any more")
	}
	if err := r.Advise(0, r.Size(), Random); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	switch err := r.Lock(0, page); {
	case err == nil:
		mustDo(t, r.Unlock(0, page))
	case !errors.Is(err, ErrNoMemory) && !errors.Is(err, errors.ErrUnsupported):
		t.Fatal(err)
	}

	name := t.TempDir() + "/file"
	mustDo(t, os.WriteFile(name, []byte("from a file"), 0o600))
	file, err := os.Open(name)
	mustDo(t, err)
	defer file.Close()
	shown, err := MapFile(file, FileConfig{Offset: 5})
	mustDo(t, err)
	if s := string(shown.Bytes()); s != "a file" {
		t.Fatalf("the file is %q", s)
	}
	mustDo(t, shown.Prefetch(0, 6), shown.Close())
	b, err := r.Grow(0)
	mustDo(t, err, r.Prefetch(0, page))
	if len(b) != r.Size() {
		t.Fatalf("Grow returns %d bytes", len(b))
	}
	if err := r.Sync(0, page, true); err == nil {
		t.Error("Sync of memory that shows no file")
	}
	mustDo(t, r.Decommit(page, 7*page))
	expect(t, "decommitted", touch(r, 2*page), Decommitted, 2*page)

	to := mustReserve(t, Config{Name: "larger", Size: 16 * page})
	poke(r, 7)
	mustDo(t, r.Move(to, page))
	if to.Bytes()[7] != 1 || r.Committed() != 0 || to.Committed() != int64(page) {
		t.Fatalf("moved: %d and %d bytes are committed", r.Committed(), to.Committed())
	}
	if err := r.Move(nil, page); err == nil {
		t.Error("Move to nil")
	}
	mustDo(t, r.Close())
	expect(t, "closed", touch(r, 3), UseAfterClose, 3)
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if f := Locate(uintptr(to.Base())); f == nil || f.Region != "larger" || f.Kind != Protected {
		t.Errorf("Locate: %v", f)
	}
	if f := Locate(uintptr(unsafe.Pointer(new(int)))); f != nil {
		t.Errorf("Locate of Go memory: %v", f)
	}
}

// TestConfigReachesTheRegion holds Reserve to handing over each field of Config.
func TestConfigReachesTheRegion(t *testing.T) {
	in, out := reflect.TypeFor[Config](), reflect.TypeFor[region.Config]()
	theirs := map[string]bool{"PartOf": true, "DeferOnSoft": true, "Skip": true}
	for i := range out.NumField() {
		f := out.Field(i)
		if g, ok := in.FieldByName(f.Name); ok == theirs[f.Name] || ok && g.Type != f.Type {
			t.Errorf("guard.Config has %s: %v", f.Name, ok)
		}
	}
	if in.NumField()+len(theirs) != out.NumField() {
		t.Errorf("%d fields of guard.Config, %d of region.Config", in.NumField(), out.NumField())
	}
	c := Config{Name: "all", Size: 2, Reserve: 3, MinSize: 1, HugePages: true, Prefault: true, Near: 4, Secret: true, MaySwap: true}
	got := c.internal()
	for i := range in.NumField() {
		name := in.Field(i).Name
		if want := reflect.ValueOf(c).Field(i); want.IsZero() || !want.Equal(reflect.ValueOf(got).FieldByName(name)) {
			t.Errorf("%s is not handed over, or not set by this test", name)
		}
	}
}

// TestSettings replaces the process's settings, and finds what it replaced.
func TestSettings(t *testing.T) {
	before := CurrentBudget()
	old, err := SetBudget(Budget{Hard: Committed() + 1<<30})
	if err != nil || !reflect.DeepEqual(old, before) || CurrentBudget().Hard == 0 {
		t.Errorf("budget: %v, %+v, want %+v; now %+v", err, old, before, CurrentBudget())
	}
	if _, err := SetBudget(Budget{Soft: -1}); err == nil || CurrentBudget().Soft != 0 {
		t.Errorf("a budget that cannot be: %v, %+v", err, CurrentBudget())
	}
	mustDo(t, second(SetBudget(old)))

	bound := CurrentQuarantine()
	was, err := SetQuarantine(1 << 20)
	if err != nil || was != bound || CurrentQuarantine() != 1<<20 {
		t.Errorf("quarantine: %v, %d, want %d", err, was, bound)
	}
	if _, err := SetQuarantine(-1); err == nil || CurrentQuarantine() != 1<<20 {
		t.Errorf("a negative bound: %v", err)
	}
	mustDo(t, second(SetQuarantine(was)))

	if CurrentOnLeak() != nil {
		t.Error("somebody has set OnLeak")
	}
	told := 0
	if old, err := SetOnLeak(func(Info) { told++ }); err != nil || old != nil {
		t.Errorf("OnLeak: %v, %p", err, old)
	}
	CurrentOnLeak()(Info{})
	if old, err := SetOnLeak(nil); err != nil || old == nil || told != 1 || CurrentOnLeak() != nil {
		t.Errorf("OnLeak: %v, told %d times", err, told)
	}
}

func second[T any](_ T, err error) error { return err }

// TestOpenedBeginsWithTheCaller reads where a region was opened: Reserve itself is not part of that.
func TestOpenedBeginsWithTheCaller(t *testing.T) {
	r := mustReserve(t, Config{Name: "opened", Size: 1})
	usage := Usage()
	for in := range Regions() {
		if in.Base == uintptr(r.Base()) {
			const want = "github.com/seed-9a6c551e/offheap/guard.mustReserve\n"
			if in.Name != "opened" || in.Size != r.Size() || len(in.Opened) < len(want) || in.Opened[:len(want)] != want || usage.Regions == 0 {
				t.Errorf("%+v", in)
			}
			return
		}
	}
	t.Error("the region is not among all")
}
