package native

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// compiler returns the command of a C compiler for the test's own architecture; nil if there is none.
var compiler = sync.OnceValue(func() []string {
	prefix := map[string]string{"amd64": "x86_64-", "arm64": "aarch64-"}[runtime.GOARCH]
	for _, c := range []string{os.Getenv("CC"), "gcc", prefix + "linux-gnu-gcc"} {
		words := strings.Fields(c)
		if len(words) == 0 {
			continue
		}
		target, err := exec.Command(words[0], append(words[1:], "-dumpmachine")...).Output()
		if err == nil && strings.HasPrefix(string(target), prefix) {
			return words
		}
	}
	return nil
})

// build compiles a shared object and returns its path. It skips the test if that fails.
func build(t testing.TB, source string, flags ...string) string {
	t.Helper()
	needNative(t)
	c := compiler()
	if c == nil {
		t.Skipf("no C compiler for %s: $CC and gcc are not", runtime.GOARCH)
	}
	out := filepath.Join(t.TempDir(), "object.so")
	args := append(c[1:len(c):len(c)], "-O2", "-fPIC", "-shared", "-nostdlib", "-ffreestanding", "-x", "c", "-", "-o", out)
	cmd := exec.Command(c[0], append(args, flags...)...)
	cmd.Stdin = strings.NewReader(source)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%v: %v\n%s", cmd, err, text)
	}
	return out
}

// kernels is C source with everything that an object may contain. The tests of the loader do not call its
// functions.
const kernels = `
#ifndef ALIGN
#define ALIGN 64
#endif
int filled[3] = {7, 8, 9};
int zeroed[20000];
char wide[3] __attribute__((aligned(ALIGN))) = "wi";
extern int absent(int) __attribute__((weak));
int add(int a, int b) { return a + b; }
int sub(int a, int b) { return a - b; }
int (*const functions[])(int, int) = {add, sub, absent};
const char *const texts[] = {"one", "two"};
int *middle = &filled[1];
static int spot;
int *many[200] = {[0 ... 199] = &spot};
int use(int i, int a, int b) {
	return functions[i](a, b) + zeroed[a] + filled[b] + *texts[i] + *middle + (absent ? absent(1) : 0) + wide[a] + add(a, b);
}`

// good are ways to link kernels into an object that can be loaded.
var good = []struct {
	name  string
	flags []string
}{
	{"plain", nil},
	{"separate-code", []string{"-Wl,-z,separate-code"}},
	{"noseparate-code", []string{"-Wl,-z,noseparate-code"}},
	{"relr", []string{"-Wl,-z,pack-relative-relocs"}},
	{"norelro", []string{"-Wl,-z,norelro"}},
	{"64K", []string{"-Wl,-z,max-page-size=65536", "-Wl,-z,separate-code"}},
	{"aligned", []string{"-DALIGN=32768"}},
	{"sysv", []string{"-Wl,--hash-style=sysv"}},
	{"lazy", []string{"-Wl,-z,lazy", "-fplt"}},
	{"based", []string{"-Wl,-Ttext-segment=0x7000000"}},
}

// patient is the file of an object, which a test damages.
type patient struct {
	data []byte
	elf  *elf.File // the undamaged file
}

func openPatient(t testing.TB, path string) *patient {
	t.Helper()
	data, err := os.ReadFile(path)
	stacktest.NoError(t, err)
	f, err := elf.NewFile(bytes.NewReader(data))
	stacktest.NoError(t, err)
	return &patient{data, f}
}

// header returns the program header at index i.
func (p *patient) header(i int) []byte {
	return p.data[binary.LittleEndian.Uint64(p.data[32:])+uint64(i)*56:][:56]
}

// find returns the header of the first segment of a type that has all the flags.
func (p *patient) find(kind elf.ProgType, flags elf.ProgFlag) []byte {
	for i, h := range p.elf.Progs {
		if h.Type == kind && h.Flags&flags == flags {
			return p.header(i)
		}
	}
	panic("no such segment")
}

// section returns the content of the first section of a type.
func (p *patient) section(kind elf.SectionType) []byte {
	s := p.elf.SectionByType(kind)
	return p.data[s.Offset : s.Offset+s.FileSize]
}

// tag returns an entry of the dynamic section: tag and value.
func (p *patient) tag(tag elf.DynTag) []byte {
	for entry := p.section(elf.SHT_DYNAMIC); len(entry) >= 16; entry = entry[16:] {
		if elf.DynTag(binary.LittleEndian.Uint64(entry)) == tag {
			return entry[:16]
		}
	}
	panic("no such tag")
}

func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

func hexadecimal(t testing.TB, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	stacktest.NoError(t, err)
	return n
}
