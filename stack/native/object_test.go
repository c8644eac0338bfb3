package native

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// loaded is a loaded object, with the same file as debug/elf reads it.
type loaded struct {
	*testing.T
	*Object
	file    *elf.File
	symbols map[string]elf.Symbol
	low     uint64 // address of the file at the base of the region
}

func load(t *testing.T, path string) *loaded {
	t.Helper()
	o, err := LoadObject(path)
	stacktest.NoError(t, err)
	t.Cleanup(func() {
		if err := o.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	f, err := elf.Open(path)
	stacktest.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	all, err := f.DynamicSymbols()
	stacktest.NoError(t, err)
	l := &loaded{t, o, f, map[string]elf.Symbol{}, 0}
	for _, s := range all {
		l.symbols[s.Name] = s
	}
	l.low = l.symbols["add"].Value - uint64(o.functions["add"])
	return l
}

// memory returns n bytes in memory at an address of the file.
func (l *loaded) memory(addr uint64, n uint64) []byte { return l.region.Bytes()[addr-l.low:][:n] }

// object returns the memory of a variable.
func (l *loaded) object(name string) []byte {
	l.Helper()
	s, found := l.symbols[name]
	if !found {
		l.Fatalf("no symbol %q", name)
	}
	return l.memory(s.Value, s.Size)
}

func (l *loaded) word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }

// address returns the address in memory for an address of the file.
func (l *loaded) address(addr uint64) uint64 { return uint64(uintptr(l.region.Base())) + addr - l.low }

func (l *loaded) function(name string) uint64 {
	l.Helper()
	f, err := l.Func(name)
	stacktest.NoError(l.T, err)
	return uint64(f)
}

func TestLoadObject(t *testing.T) {
	nothingLeft(t)
	for _, g := range good {
		t.Run(g.name, func(t *testing.T) {
			l := load(t, build(t, kernels, g.flags...))
			if g.name == "relr" && l.file.SectionByType(0x13) == nil {
				t.Skip("this linker packs no relocations")
			}
			l.checkContents()
			l.checkRelocations()
			l.checkProtections(g.name != "norelro")
			text := (*byte)(l.region.Base())
			text = (*byte)(unsafe.Add(unsafe.Pointer(text), l.functions["add"]))
			mustFault(t, "write to code", guard.Protected, text, true)
			stacktest.NoError(t, l.Close())
			mustFault(t, "closed object", guard.UseAfterClose, text, false)
			if err := l.Close(); !errors.Is(err, guard.ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

// checkContents compares functions and variables with the file.
func (l *loaded) checkContents() {
	l.Helper()
	text := l.file.Section(".text")
	code, err := text.Data()
	stacktest.NoError(l.T, err)
	for _, name := range []string{"add", "sub", "use"} {
		s := l.symbols[name]
		if l.function(name) != l.address(s.Value) {
			l.Errorf("%s is at %#x, want %#x", name, l.function(name), l.address(s.Value))
		}
		if !bytes.Equal(l.object(name), code[s.Value-text.Addr:][:s.Size]) {
			l.Errorf("%s is not what the file has", name)
		}
	}
	for _, name := range []string{"filled", "absent", "none", ""} {
		if f, err := l.Func(name); err == nil {
			l.Errorf("Func(%q) is %#x", name, f)
		}
	}
	if got := l.object("filled"); !bytes.Equal(got, []byte{7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0}) {
		l.Errorf("filled is %v", got)
	}
	if got := l.object("zeroed"); len(got) != 80000 || len(bytes.Trim(got, "\x00")) > 0 {
		l.Errorf("zeroed is not zero")
	}
	if s := l.symbols["wide"]; s.Value%32768 == 0 && l.address(s.Value)%32768 != 0 {
		l.Errorf("wide is at %#x", l.address(s.Value))
	}
	if got := l.object("functions"); l.word(got, 0) != l.function("add") || l.word(got, 1) != l.function("sub") || l.word(got, 2) != 0 {
		l.Errorf("functions are %x", got)
	}
	if got := l.word(l.object("middle"), 0); got != l.address(l.symbols["filled"].Value+4) {
		l.Errorf("middle points to %#x", got)
	}
	spot := l.word(l.object("many"), 0)
	for i := range 200 {
		if got := l.word(l.object("many"), i); got != spot || got-l.address(l.low) >= uint64(l.region.Size()) {
			l.Errorf("pointer %d of many is %#x, the first is %#x", i, got, spot)
		}
	}
	for i, want := range []string{"one", "two"} {
		at := l.word(l.object("texts"), i) - l.address(l.low)
		if got := string(l.region.Bytes()[at:][:3]); got != want {
			l.Errorf("text %d is %q", i, got)
		}
	}
}

// checkRelocations compares all words that LoadObject wrote addresses into.
func (l *loaded) checkRelocations() {
	l.Helper()
	all, err := l.file.DynamicSymbols()
	stacktest.NoError(l.T, err)
	seen := 0
	for _, s := range l.file.Sections {
		if s.Type != elf.SHT_RELA {
			continue
		}
		data, err := s.Data()
		stacktest.NoError(l.T, err)
		for ; len(data) > 0; data = data[24:] {
			want := binary.LittleEndian.Uint64(data[16:])
			if index := binary.LittleEndian.Uint32(data[12:]); index == 0 {
				want = l.address(want)
			} else if sym := all[index-1]; sym.Section != elf.SHN_UNDEF {
				want += l.address(sym.Value)
			}
			at := binary.LittleEndian.Uint64(data)
			if got := l.word(l.memory(at, 8), 0); got != want {
				l.Errorf("the word at %#x is %#x, want %#x", at, got, want)
			}
			seen++
		}
	}
	if seen < 4 {
		l.Errorf("only %d relocations", seen)
	}
}

func (l *loaded) checkProtections(relro bool) {
	l.Helper()
	at := func(name string) string {
		return permissions(l.T, unsafe.Pointer(unsafe.SliceData(l.object(name))))
	}
	functions := map[bool]string{true: "r--p", false: "rw-p"}[relro]
	for name, want := range map[string]string{"add": "r-xp", "filled": "rw-p", "zeroed": "rw-p", "functions": functions} {
		if got := at(name); got != want {
			l.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "object.so") && strings.Contains(line, "wx") {
			l.Errorf("writable and executable: %s", line)
		}
	}
}

// TestObjectsAreTheirOwn loads one file twice. The objects do not share variables, and do not need the file any
// more.
func TestObjectsAreTheirOwn(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	before, err := os.ReadFile(path)
	stacktest.NoError(t, err)
	a, b := load(t, path), load(t, path)
	for _, name := range []string{"filled", "zeroed"} {
		a.object(name)[0] = 99
		if b.object(name)[0] == 99 {
			t.Errorf("%s is shared", name)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %v", err)
	}
	stacktest.NoError(t, os.Remove(path), b.Close())
	if a.object("filled")[0] != 99 || a.object("filled")[4] != 8 {
		t.Error("contents lost")
	}
	stacktest.NoError(t, a.Close())
}

// TestObjectWithoutSections loads a file without section headers, which only linkers and debuggers need.
func TestObjectWithoutSections(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	p := openPatient(t, path)
	clear(p.data[40:48])
	clear(p.data[58:64])
	stacktest.NoError(t, os.WriteFile(path, p.data, 0o600))
	o, err := LoadObject(path)
	stacktest.NoError(t, err)
	_, err = o.Func("use")
	stacktest.NoError(t, err, o.Close())
}

// TestObjectCutShort truncates the file of a loaded object. Touches of the missing part fault, even if it was
// written to before, and Close works.
func TestObjectCutShort(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	l := load(t, path)
	filled := &l.object("filled")[0]
	*filled = 5
	if !vm.Probe().Populate {
		t.Skip("this may be an emulator that gets the address wrong")
	}
	stacktest.NoError(t, os.Truncate(path, 0))
	mustFault(t, "variable", guard.Truncated, filled, false)
	stacktest.NoError(t, l.Close())
}
