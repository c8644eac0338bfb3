package native

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// natives is the C source of the functions that the tests call.
const natives = `
typedef unsigned long u64;
typedef long i64;

u64 sum(const u64 *p, u64 n) { u64 s = 0; for (u64 i = 0; i < n; i++) s += p[i]; return s; }

u64 ackermann(u64 m, u64 n) {
	if (m == 0) return n + 1;
	if (n == 0) return ackermann(m - 1, 1);
	return ackermann(m - 1, ackermann(m, n - 1));
}

void poke(volatile char *p, i64 off) { p[off] = 1; }
u64 peek(const volatile u64 *p) { return *p; }

u64 fnv(const unsigned char *p, u64 n) {
	u64 h = 14695981039346656037ul;
	for (u64 i = 0; i < n; i++) h = (h ^ p[i]) * 1099511628211ul;
	return h;
}

/* Quicksort that recurses into the larger part too, so that its depth is that of the data. */
void sort(i64 *p, i64 n) {
	if (n < 2) return;
	i64 pivot = p[n / 2], i = 0, j = n - 1;
	for (;;) {
		while (p[i] < pivot) i++;
		while (p[j] > pivot) j--;
		if (i >= j) break;
		i64 t = p[i]; p[i] = p[j]; p[j] = t;
		i++; j--;
	}
	sort(p, i);
	sort(p + i, n - i);
}

u64 six(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) { return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f; }
double eight(double a, double b, double c, double d, double e, double f, double g, double h) { return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h; }

#ifdef __x86_64__
/* Leaves an exception of the old floating-point unit pending. */
void x87(void) {
	unsigned short all = 0x340;
	__asm__ volatile("fldcw %0; fldz; fld1; fdivp; ud2" : : "m"(all));
}
void privileged(void) { __asm__ volatile("hlt"); }
#endif

u64 divide(u64 a, u64 b) { return a / b; }
void trap(void) { __builtin_trap(); }
u64 spins(u64 n) { volatile u64 x = 0; for (u64 i = 0; i < n; i++) x += i; return x; }

/* Moves the stack pointer by far more than a guard, touches only the other end, and then nothing. */
__attribute__((noinline)) u64 leap(volatile u64 *p) { volatile char a[215000]; a[(u64)p & 7] = 1; return *p + a[(u64)p & 7]; }

/* Uses every register that there is, the one in which Go keeps its goroutine included. */
u64 busy(u64 n) {
	u64 a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, i = 9, j = 10, k = 11, l = 12, m = 13, o = 14;
	for (u64 x = 0; x < n; x++) {
		a += b ^ x; b += c ^ a; c += d ^ b; d += e ^ c; e += f ^ d; f += g ^ e; g += h ^ f;
		h += i ^ g; i += j ^ h; j += k ^ i; k += l ^ j; l += m ^ k; m += o ^ l; o += a ^ m;
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l ^ m ^ o;
}
`

// native loads natives and returns a function that looks one up.
func native(t testing.TB) func(name string) Func {
	t.Helper()
	o := buildNatives(t)
	return func(name string) Func {
		t.Helper()
		f, err := o.Func(name)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func buildNatives(t testing.TB) *Object {
	t.Helper()
	o, err := LoadObject(build(t, natives))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

const isARM = runtime.GOARCH == "arm64"

func call(t testing.TB, s *stack.Stack, f Func, args ...uintptr) uintptr {
	t.Helper()
	r, err := Call(s, f, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

func TestNativeResults(t *testing.T) {
	f := native(t)
	p := mustOpen(t, stack.Config{Size: 1 << 20})
	s := get(t, p)
	frame := s.Push()
	list := stack.MakeSlice[uint64](s, 1000, 1000)
	want := uint64(0)
	for i := range list {
		list[i] = uint64(i * i)
		want += list[i]
	}
	if got := call(t, s, f("sum"), addr(&list[0]), 1000); uint64(got) != want {
		t.Errorf("the sum is %d, want %d", got, want)
	}
	if got := call(t, s, f("ackermann"), 2, 300); got != 603 {
		t.Errorf("Ackermann of 2 and 300 is %d", got)
	}
	text := s.Alloc(5, 1)
	copy(text, "hello")
	if got := call(t, s, f("fnv"), addr(&text[0]), 5); uint64(got) != 0xa430d84680aabd0b {
		t.Errorf("the hash is %#x", got)
	}
	if got := call(t, s, f("six"), 1, 2, 3, 4, 5, 6); got != 654321 {
		t.Errorf("six arguments give %d", got)
	}
	if got, err := CallF(s, f("eight"), 1, 1, 1, 1, 1, 1, 1, 0.5); err != nil || got != 32 {
		t.Errorf("eight arguments give %v, %v", got, err)
	}
	numbers := stack.MakeSlice[int64](s, 20000, 20000)
	for i := range numbers {
		numbers[i] = int64((i * 7919) % 20011)
	}
	call(t, s, f("sort"), addr(&numbers[0]), uintptr(len(numbers)))
	for i := 1; i < len(numbers); i++ {
		if numbers[i-1] > numbers[i] {
			t.Fatalf("not sorted at %d", i)
		}
	}
	if s.HighWater() <= s.Used() {
		t.Errorf("high water %d is not above the %d in use", s.HighWater(), s.Used())
	}
	s.Pop(frame)
	p.Put(s)
	checkIdle(t, p)
	// The next user of the stack does not see what the code left in memory.
	s = get(t, p)
	mustBeZero(t, s.Alloc(1<<20, 8))
	p.Put(s)
}

func TestTooManyArguments(t *testing.T) {
	f := native(t)
	s := hold(t, mustOpen(t, stack.Config{}))
	if _, err := Call(s, f("six"), 1, 2, 3, 4, 5, 6, 7); err == nil || !strings.Contains(err.Error(), "7") {
		t.Error(err)
	}
	if _, err := CallF(s, f("eight"), 1, 2, 3, 4, 5, 6, 7, 8, 9); err == nil {
		t.Error("nine were accepted")
	}
}

// TestNativeFaults calls functions that fault in every way. The error has the kind and the address, and
// everything works as before.
func TestNativeFaults(t *testing.T) {
	f := native(t)
	p := mustOpen(t, stack.Config{Name: "native"})
	above, s := get(t, p), get(t, p)
	if addr(above) < addr(s) {
		above, s = s, above
	}
	if addr(above)-addr(s) != unsafe.Sizeof(*s) {
		t.Fatal("the stacks do not lie side by side")
	}
	r, err := guard.Reserve(guard.Config{Name: "data", Size: guard.PageSize()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(0, r.Size()); err != nil {
		t.Fatal(err)
	}
	data := uintptr(r.Base())
	guardSize := uintptr(guard.PageSize())
	top := addr(&above.Alloc(above.Size(), 8)[0]) - guardSize
	floor := top - uintptr(s.Size())
	for round := range 3 {
		used := s.Used()
		for _, c := range []struct {
			name string
			call func() error
			kind guard.Kind
			addr uintptr // 0 stands for any
			x86  bool
		}{
			{"overflow", func() error { _, err := Call(s, f("ackermann"), 4, 10); return err }, StackOverflow, 0, false},
			{"nil", func() error { _, err := Call(s, f("peek"), 0); return err }, BadAddress, 0, false},
			{"a bad address", func() error { _, err := Call(s, f("peek"), 0x1000); return err }, BadAddress, 0x1000, false},
			{"no address at all", func() error { _, err := Call(s, f("peek"), ^(^uintptr(0)>>1)|8); return err }, Refused, 0, false},
			{"beyond a region", func() error { _, err := Call(s, f("poke"), data, uintptr(r.Size())); return err }, guard.Overflow, data + uintptr(r.Size()), false},
			{"before a region", func() error { _, err := Call(s, f("poke"), data, ^uintptr(0)); return err }, guard.Underflow, data - 1, false},
			{"above the stack", func() error { _, err := Call(s, f("poke"), top, 0); return err }, guard.Guarded, top, false},
			{"below the stack", func() error { _, err := Call(s, f("poke"), floor, ^uintptr(0)); return err }, StackOverflow, floor - 1, false},
			{"its own code", func() error { _, err := Call(s, f("poke"), uintptr(f("poke")), 0); return err }, guard.Protected, uintptr(f("poke")), false},
			{"an illegal instruction", func() error { _, err := Call(s, f("trap")); return err }, IllegalInstruction, 0, false},
			{"an old exception pending", func() error { _, err := Call(s, f("x87")); return err }, IllegalInstruction, 0, true},
			{"a privileged instruction", func() error { _, err := Call(s, f("privileged")); return err }, Refused, 0, true},
			{"division by zero", func() error { _, err := Call(s, f("divide"), 1, 0); return err }, Arithmetic, 0, false},
			{"a call of nothing", func() error { _, err := Call(s, 0); return err }, BadAddress, 0, false},
			{"a call of data", func() error { _, err := Call(s, Func(data)); return err }, guard.Protected, data, false},
			{"a call of floating-point code that is data", func() error { _, err := CallF(s, Func(data)); return err }, guard.Protected, data, false},
		} {
			if c.x86 && isARM {
				continue
			}
			if c.kind == Arithmetic && isARM {
				continue // on arm64 the quotient is 0
			}
			if c.name == "no address at all" && isARM {
				continue // on arm64 the top byte may be a tag
			}
			var fault *guard.Fault
			if err := c.call(); !errors.As(err, &fault) || fault.Kind != c.kind || c.addr != 0 && fault.Addr != c.addr {
				t.Fatalf("round %d, %s: %v, want %v", round, c.name, err, c.kind)
			}
			if fault.PC == 0 && c.name != "a call of nothing" {
				t.Errorf("%s: no instruction: %v", c.name, fault)
			}
			if c.name == "overflow" && (fault.Region != "native" || fault.Addr >= floor || fault.Addr < floor-guardSize || s.HighWater() != s.Size()) {
				t.Errorf("the overflow is %v, with the floor at %#x, high water %d", fault, floor, s.HighWater())
			}
			checkInUse(t, s, used)
			if got := call(t, s, f("six"), 1, 2, 3, 4, 5, 6); got != 654321 {
				t.Fatalf("after %s: %d", c.name, got)
			}
		}
		// Faults of Go code still reach Go.
		var nothing *int
		if err := stacktest.PanicOf(func() { *nothing = 1 }); err == nil || !strings.Contains(err.Error(), "nil pointer") {
			t.Fatalf("a nil pointer in Go: %v", err)
		}
		if err := guard.Catch(func() { *(*byte)(unsafe.Add(r.Base(), r.Size())) = 1 }); err == nil {
			t.Fatal("a fault of Go code was not caught")
		}
		zero := 0
		if err := stacktest.PanicOf(func() { zero = 1 / zero }); err == nil || !strings.Contains(err.Error(), "divide") {
			t.Fatalf("a division in Go: %v", err)
		}
		s.Push()
		if x := stack.New[[100]uint64](s); *x != [100]uint64{} {
			t.Fatal("the stack is dirty")
		}
	}
	p.Put(s)
	p.Put(above)
	checkIdle(t, p)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s = get(t, p)
	var fault *guard.Fault
	if _, err := Call(s, f("poke"), data, 0); !errors.As(err, &fault) || fault.Kind != guard.UseAfterClose || fault.Region != "data" {
		t.Errorf("a closed region: %v", err)
	}
	p.Put(s)
}
