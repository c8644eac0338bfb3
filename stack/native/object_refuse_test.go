package native

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

func mustRefuse(t testing.TB, what, path, want string) {
	t.Helper()
	o, err := LoadObject(path)
	switch {
	case err == nil:
		o.Close()
		t.Errorf("%s: no error", what)
	case !strings.HasPrefix(err.Error(), "native: load object \""+path+"\": ") || !strings.Contains(err.Error(), want):
		t.Errorf("%s: got %q, want %q in it", what, err, want)
	}
}

// TestObjectsThatNeedMore loads objects that need something that LoadObject does not do. The error names it.
func TestObjectsThatNeedMore(t *testing.T) {
	nothingLeft(t)
	for _, c := range []struct {
		name, source, want string
		flags              []string
	}{
		{"thread-local", "__thread int x; int f(void) { return x++; }", "thread-local", nil},
		{"thread-local elsewhere", "extern __thread int x __attribute__((weak)); int f(void) { return x; }", "thread-local", []string{"-ftls-model=initial-exec"}},
		{"constructor", "int x; __attribute__((constructor)) void f(void) { x = 1; }", "constructors or destructors (DT_INIT_ARRAYSZ)", nil},
		{"destructor", "int x; __attribute__((destructor)) void f(void) { x = 1; }", "constructors or destructors (DT_FINI_ARRAYSZ)", nil},
		{"init", "int x; void f(void) { x = 1; }", "constructors or destructors (DT_INIT)", []string{"-Wl,-init=f"}},
		{"fini", "int x; void f(void) { x = 1; }", "constructors or destructors (DT_FINI)", []string{"-Wl,-fini=f"}},
		{"symbols", "int puts(const char *); int putchar(int); int f(void) { return puts(\"\") + putchar(1); }", "it needs symbols: put", nil},
		{"library", "int puts(const char *); int f(void) { return puts(\"\"); }", "it needs libraries: libc.so.6", []string{"-lc"}},
		{"code", "int x; int f(void) { return x; } __asm__(\".text\\n.balign 8\\n.quad x\");", "relocations in code", []string{"-Wl,-z,notext"}},
		{"ifunc", "static int one(void) { return 1; } static void *pick(void) { return one; } int f(void) __attribute__((ifunc(\"pick\"))); int g(void) { return f() + 1; }", "indirect functions", nil},
		{"static ifunc", "static int one(void) { return 1; } static void *pick(void) { return one; } static int f(void) __attribute__((ifunc(\"pick\"))); int g(void) { return f() + 1; }", "indirect functions", nil},
		{"stack", "int f(void) { return 1; }", "executable stack", []string{"-Wl,-z,execstack"}},
		{"nothing", "static int f(void) { return 1; }", "exports no symbols", []string{"-Wl,--hash-style=gnu"}},
		{"no object", "int f(void) { return 1; }", "ET_REL", []string{"-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustRefuse(t, c.name, build(t, c.source, c.flags...), c.want)
		})
	}
}

// TestObjectsThatAreDamaged loads files with one damage each. The error names it.
func TestObjectsThatAreDamaged(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels, "-Wl,-z,separate-code", "-Wl,--hash-style=gnu")
	code, data := elf.PF_R|elf.PF_X, elf.PF_R|elf.PF_W
	relocation := func(p *patient) []byte { return p.section(elf.SHT_RELA) }
	for _, c := range []struct {
		name, want string
		damage     func(p *patient)
	}{
		{"magic", "not an ELF file", func(p *patient) { p.data[1] = 'e' }},
		{"class", "ELFCLASS32", func(p *patient) { p.data[4] = 1 }},
		{"endianness", "ELFDATA2MSB", func(p *patient) { p.data[5] = 2 }},
		{"version", "ELF version 2", func(p *patient) { p.data[6] = 2 }},
		{"type", "ET_EXEC", func(p *patient) { p.data[16] = 2 }},
		{"machine", "EM_RISCV", func(p *patient) { p.data[18] = 243 }},
		{"header size", "57 bytes each", func(p *patient) { p.data[54] = 57 }},
		{"headers beyond", "program headers", func(p *patient) { put64(p.data[32:], 1<<63) }},
		{"headers count", "program headers", func(p *patient) { p.data[56], p.data[57] = 255, 255 }},
		{"nothing to load", "nothing to load", func(p *patient) { p.data[56], p.data[57] = 0, 0 }},
		{"no dynamic", "no dynamic section", func(p *patient) { put32(p.find(elf.PT_DYNAMIC, 0), 0) }},
		{"dynamic beyond", "dynamic section", func(p *patient) { put64(p.find(elf.PT_DYNAMIC, 0)[16:], 1<<62) }},
		{"dynamic odd", "no multiple of 16", func(p *patient) { put64(p.find(elf.PT_DYNAMIC, 0)[32:], 17) }},

		{"segment beyond", "not inside the file", func(p *patient) { put64(p.find(elf.PT_LOAD, code)[8:], 1<<40) }},
		{"segment's end beyond", "not inside the file", func(p *patient) { put64(p.find(elf.PT_LOAD, code)[32:], ^uint64(0)) }},
		{"more file than memory", "do not fit into", func(p *patient) { put64(p.find(elf.PT_LOAD, data)[40:], 8) }},
		{"memory", "more than addresses can hold", func(p *patient) { put64(p.find(elf.PT_LOAD, data)[40:], 1<<62) }},
		{"address", "more than addresses can hold", func(p *patient) { put64(p.find(elf.PT_LOAD, data)[16:], ^uint64(0xfff)) }},
		{"alignment", "no power of two", func(p *patient) { put64(p.find(elf.PT_LOAD, data)[48:], 3) }},
		{"large alignment", "is more than 2097152", func(p *patient) { put64(p.find(elf.PT_LOAD, data)[48:], 4<<20) }},
		{"placement", "differ modulo", func(p *patient) { p.find(elf.PT_LOAD, code)[16]++ }},
		{"order", "is not behind", func(p *patient) { put64(p.find(elf.PT_LOAD, code)[16:], 0) }},
		{"zeroes in code", "zeroed memory that is not writable", func(p *patient) { p.find(elf.PT_LOAD, code)[40] += 1 }},
		{"writable code", "writable and executable", func(p *patient) { p.find(elf.PT_LOAD, code)[4] = 7 }},
		{"relro", "read-only after relocation", func(p *patient) { put64(p.find(elf.PT_GNU_RELRO, 0)[40:], 1<<30) }},

		{"names beyond", "its names", func(p *patient) { put64(p.tag(elf.DT_STRTAB)[8:], 1<<40) }},
		{"names' size", "its names", func(p *patient) { put64(p.tag(elf.DT_STRSZ)[8:], 1<<40) }},
		{"symbols beyond", "its symbols", func(p *patient) { put64(p.tag(elf.DT_SYMTAB)[8:], ^uint64(0)) }},
		{"symbol size", "25 bytes (DT_SYMENT)", func(p *patient) { put64(p.tag(elf.DT_SYMENT)[8:], 25) }},
		{"hash beyond", "hash table", func(p *patient) { put64(p.tag(elf.DT_GNU_HASH)[8:], 1<<40) }},
		{"no hash", "no hash table", func(p *patient) { put64(p.tag(elf.DT_GNU_HASH), 0x6ffffef0) }},
		{"hash buckets", "hash buckets", func(p *patient) { put32(p.section(elf.SHT_GNU_HASH), 1<<31) }},
		{"hash filter", "hash buckets", func(p *patient) { put32(p.section(elf.SHT_GNU_HASH)[8:], 1<<31) }},
		{"hash chain", "hash chain", func(p *patient) {
			put32(p.section(elf.SHT_GNU_HASH)[16+8*p.section(elf.SHT_GNU_HASH)[8]:], 1<<31)
		}},
		{"relocations beyond", "its relocations", func(p *patient) { put64(p.tag(elf.DT_RELA)[8:], 1<<40) }},
		{"relocations odd", "no multiple of 24", func(p *patient) { p.tag(elf.DT_RELASZ)[8]++ }},
		{"relocations without addends", "without addends", func(p *patient) {
			put64(p.tag(elf.DT_RELA), uint64(elf.DT_REL))
			put64(p.tag(elf.DT_RELASZ), uint64(elf.DT_RELSZ))
		}},
		{"relocation of code", "not in a writable segment", func(p *patient) { put64(relocation(p), p.elf.Section(".text").Addr) }},
		{"relocation at the end", "not in a writable segment", func(p *patient) {
			bss := p.elf.Section(".bss")
			put64(relocation(p), bss.Addr+bss.Size-7)
		}},
		{"relocation nowhere", "not in a writable segment", func(p *patient) { put64(relocation(p), ^uint64(0)) }},
		{"relocation type", "not known here", func(p *patient) { put32(relocation(p)[8:], 250) }},
		{"relocation's symbol", "names symbol 4294967295 of", func(p *patient) {
			for rel := relocation(p); ; rel = rel[24:] {
				if rel[12] != 0 { // the relocation has a symbol
					put32(rel[12:], 1<<32-1)
					return
				}
			}
		}},
		{"packed relocation of code", "not in a writable segment", func(p *patient) {
			// The first packed entry is even: the address of a word in data. The next word is 8 bytes further.
			put64(relocation(p), p.elf.Section(".bss").Addr)
			put64(relocation(p)[8:], p.elf.Section(".text").Addr&^1)
			put64(p.tag(elf.DT_RELA), uint64(dtRelr))
			put64(p.tag(elf.DT_RELASZ), uint64(dtRelrSize))
			put64(p.tag(elf.DT_RELAENT), 0x6ffffef0)
		}},
	} {
		p := openPatient(t, path)
		c.damage(p)
		damaged := filepath.Join(t.TempDir(), "damaged.so")
		stacktest.NoError(t, os.WriteFile(damaged, p.data, 0o600))
		mustRefuse(t, c.name, damaged, c.want)
	}
}

// TestObjectWithHugeTable loads a sparse file with a huge table. LoadObject refuses to read it into the Go heap.
func TestObjectWithHugeTable(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	p := openPatient(t, path)
	h := p.find(elf.PT_LOAD, elf.PF_W)
	put64(h[32:], maxTable+1)
	put64(h[40:], maxTable+1)
	put64(p.tag(elf.DT_STRTAB)[8:], binary.LittleEndian.Uint64(h[16:]))
	put64(p.tag(elf.DT_STRSZ)[8:], maxTable+1)
	stacktest.NoError(t, os.WriteFile(path, p.data, 0o600), os.Truncate(path, 2*maxTable))
	mustRefuse(t, "huge names", path, "which is more than 67108864")
}

// TestFunctionsOutsideOfCode loads objects whose symbols claim to be functions, and lie outside of the code or
// are absolute numbers. Func does not return them.
func TestFunctionsOutsideOfCode(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	for what, change := range map[string]func(p *patient, symbol []byte){
		"in data":  func(p *patient, symbol []byte) { put64(symbol[8:], p.elf.Section(".bss").Addr) },
		"absolute": func(p *patient, symbol []byte) { symbol[6], symbol[7] = 0xf1, 0xff },
	} {
		p := openPatient(t, path)
		for symbol := p.section(elf.SHT_DYNSYM)[24:]; len(symbol) > 0; symbol = symbol[24:] {
			if elf.ST_TYPE(symbol[4]) == elf.STT_FUNC {
				change(p, symbol)
			}
		}
		all, err := openPatient(t, path).elf.DynamicSymbols() // of the undamaged file
		stacktest.NoError(t, err)
		addresses := map[string]uint64{}
		for _, s := range all {
			addresses[s.Name] = s.Value
		}
		changed := filepath.Join(t.TempDir(), "changed.so")
		stacktest.NoError(t, os.WriteFile(changed, p.data, 0o600))
		o, err := LoadObject(changed)
		stacktest.NoError(t, err)
		for _, name := range []string{"add", "sub", "use"} {
			if f, err := o.Func(name); err == nil {
				t.Errorf("%s: %s is at %#x", what, name, f)
			}
		}
		// The file's addresses begin at 0.
		got := binary.LittleEndian.Uint64(o.region.Bytes()[addresses["functions"]:])
		if what == "absolute" && got != addresses["add"] {
			t.Errorf("the absolute symbol %#x is relocated to %#x", addresses["add"], got)
		}
		stacktest.NoError(t, o.Close())
	}
}

func TestObjectsThatAreTruncated(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	p := openPatient(t, path)
	last := 0
	for _, h := range p.elf.Progs {
		if h.Type == elf.PT_LOAD {
			last = int(h.Off + h.Filesz)
		}
	}
	for _, n := range []int{0, 1, 15, 16, 63, 64, 65, 200, last / 2, last - 1} {
		stacktest.NoError(t, os.WriteFile(path, p.data[:n], 0o600))
		mustRefuse(t, "truncated", path, "")
	}
	stacktest.NoError(t, os.WriteFile(path, p.data[:last], 0o600))
	o, err := LoadObject(path)
	stacktest.NoError(t, err, o.Close())
}

func TestObjectsThatAreNone(t *testing.T) {
	needNative(t)
	nothingLeft(t)
	dir := t.TempDir()
	if _, err := LoadObject(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	mustRefuse(t, "directory", dir, "not a regular file")
	stacktest.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	mustRefuse(t, "pipe", filepath.Join(dir, "pipe"), "not a regular file")
	stacktest.NoError(t, os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("text ", 100)), 0o600))
	mustRefuse(t, "text", filepath.Join(dir, "text"), "not an ELF file")
}

func TestLoadObjectBeyondBudget(t *testing.T) {
	nothingLeft(t)
	path := build(t, kernels)
	stacktest.SetBudget(t, guard.Budget{Hard: guard.Committed() + int64(2*guard.PageSize())})
	_, err := LoadObject(path)
	stacktest.SetBudget(t, guard.Budget{})
	if !errors.Is(err, guard.ErrNoMemory) {
		t.Error(err)
	}
}
