package stack

import (
	"errors"
	"iter"
	"maps"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/header"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

func get(t testing.TB, p *Pool) *Stack {
	t.Helper()
	s, err := p.TryGet()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustOpen opens a pool until the test ends. The default of Max is small here, because emulators take memory
// for addresses.
func mustOpen(t testing.TB, c Config) *Pool {
	t.Helper()
	if c.Max == 0 {
		c.Max = 1000
	}
	p, err := OpenPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for s := range p.inUse() {
			p.Put(s)
		}
		if err := p.Close(); err != nil && !errors.Is(err, guard.ErrClosed) {
			t.Error(err)
		}
	})
	return p
}

// whole returns the whole memory of a stack.
func whole(s *Stack) []byte {
	l := s.layoutOf()
	return unsafe.Slice((*byte)(s.at(l.end(s)-l.size)), l.size)
}

// touched touches the byte at distance off from the floor of a stack, and returns the fault.
func touched(s *Stack, off int) *guard.Fault {
	l := s.layoutOf()
	p := (*byte)(unsafe.Add(s.at(l.end(s)-l.size), off))
	var fault *guard.Fault
	errors.As(guard.Catch(func() { *p++ }), &fault)
	return fault
}

func TestStacksLieBetweenGuards(t *testing.T) {
	page := guard.PageSize()
	for _, c := range []Config{{Max: 40}, {Size: page, Max: 40}, {Size: 3*page - 1, Max: 100, Guard: 2 * page}, {Size: 2 << 20, Max: 10}} {
		p := mustOpen(t, c)
		size, gap := pages(max(c.Size, 1)), pages(max(c.Guard, 1))
		if c.Size == 0 {
			size = defaultSize
		}
		var all []*Stack
		for range c.Max {
			s := get(t, p)
			if s.Size() != size {
				t.Fatalf("%+v: a stack has %d bytes", c, s.Size())
			}
			all = append(all, s)
			b := whole(s)
			b[0], b[len(b)-1] = 1, 1
			for _, off := range []int{-1, -gap} {
				if f := touched(s, off); f == nil || f.Kind != guard.Guarded {
					t.Fatalf("%+v: %d below the stack: %v", c, -off, f)
				}
			}
			if f := touched(s, size); f == nil { // the guard of the next stack, or unused memory, or the end of the region
				t.Fatalf("%+v: nothing above the stack", c)
			}
		}
		if err := stacktest.PanicOf(func() { p.Get() }); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "Max") {
			t.Fatalf("%+v: Get panics with %v", c, err)
		}
		if _, err := p.TryGet(); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "Max") {
			t.Errorf("%+v: one too many: %v", c, err)
		}
		taken := map[*Stack]bool{}
		for _, s := range all {
			if taken[s] {
				t.Fatal("a stack was handed out twice")
			}
			taken[s] = true
			if b := whole(s); b[0] != 1 || b[len(b)-1] != 1 {
				t.Fatal("stacks overlap")
			}
			b := whole(s)
			b[0], b[len(b)-1] = 0, 0
		}
		p.checkInvariants(taken)
		for _, s := range all {
			p.Put(s)
		}
		p.checkInvariants(nil)
	}
}

// TestLastInFirstOut puts stacks and gets them again: the last one comes first, out of the cache.
func TestLastInFirstOut(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := mustOpen(t, Config{})
	var all []*Stack
	for range 3 * cacheSize {
		all = append(all, get(t, p))
	}
	for _, s := range all {
		p.Put(s)
	}
	for i := len(all) - 1; i >= len(all)-cacheSize/2; i-- {
		if s := get(t, p); s != all[i] {
			t.Fatalf("stack %d is not the one that was put last", i)
		}
	}
	for range 2*cacheSize + cacheSize/2 {
		get(t, p)
	}
	if s := p.Stats(); s.Stacks != 3*cacheSize || s.InUse != 3*cacheSize {
		t.Errorf("stacks were not used again: %+v", s)
	}
}

func TestUsedStacksReadZero(t *testing.T) {
	p := mustOpen(t, Config{Max: 1})
	for n := 8; n <= defaultSize; n *= 2 {
		s := get(t, p)
		b := s.Alloc(n, 8)
		for i, x := range b {
			if x != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, x)
			}
			b[i] = 0xff
		}
		p.Put(s)
		p.checkInvariants(nil)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []struct {
		Config
		want     string
		noMemory bool
	}{
		{Config{Size: -1}, "must not be negative", false},
		{Config{Max: -1}, "must not be negative", false},
		{Config{Retain: -1}, "must not be negative", false},
		{Config{Guard: -1}, "must not be negative", false},
		{Config{Guard: math.MinInt}, "must not be negative", false},
		{Config{Size: 1<<30 + 1}, "at most", false},
		{Config{Guard: 1<<30 + 1}, "at most", false},
		{Config{Retain: 1<<30 + 1}, "at most", false},
		{Config{Retain: math.MaxInt}, "at most", false},
		{Config{Size: math.MaxInt}, "at most", false},
		{Config{Max: math.MaxInt}, "at most", false},
		{Config{Size: 8192, Retain: 8193}, "above Size", false},
		{Config{Size: 1 << 30, Max: 1 << 30}, "stacks", true},
	} {
		p, err := OpenPool(c.Config)
		if err == nil {
			t.Errorf("%+v was accepted", c.Config)
			p.Close()
			continue
		}
		if !strings.Contains(err.Error(), c.want) || errors.Is(err, guard.ErrNoMemory) != c.noMemory {
			t.Errorf("%+v: %v", c.Config, err)
		}
	}
}

// TestLargePoolsCostNothing opens a pool of a million stacks. It costs addresses only.
func TestLargePoolsCostNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("emulators take memory for addresses")
	}
	before := guard.Usage()
	p := mustOpen(t, Config{Max: 1 << 20})
	if got := guard.Usage().Committed - before.Committed; got != 0 {
		t.Errorf("%d bytes are committed", got)
	}
	get(t, p)
	if s := p.Stats(); s.Committed > 1<<20 || inRAM(t, p) > 1<<20 || s.Stacks != 1 && s.Stacks != cacheSize/2 {
		t.Errorf("one stack makes %+v", s)
	}
}

func resident(t *testing.T, p *Pool) int64 {
	t.Helper()
	n := inRAM(t, p)
	if n < 0 {
		t.Skip("the system does not tell what is in RAM")
	}
	return n
}

// inRAM returns how many bytes of a pool are in RAM; -1 where the system does not tell, or is an emulator, whose mincore
// fails for guards.
func inRAM(t *testing.T, p *Pool) int64 {
	t.Helper()
	n, err := p.Resident()
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, guard.ErrNoMemory) && !vm.Probe().Populate:
		return -1
	case err != nil:
		t.Fatal(err)
	}
	return n
}

// TestRetention measures the RAM of idle stacks. Stacks that are in no cache keep at most Retain; stacks in a
// processor's cache keep their RAM for some rounds.
func TestRetention(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const size, retain, many = 256 << 10, 16 << 10, 100
	p := mustOpen(t, Config{Size: size, Retain: retain})
	deep := func(s *Stack) { s.Alloc(size, 8) }
	var all []*Stack
	for range many {
		s := get(t, p)
		deep(s)
		clear(whole(s)) // into RAM
		all = append(all, s)
	}
	if n := resident(t, p); n < many*size {
		t.Fatalf("%d bytes in RAM while %d are in use", n, many*size)
	}
	for _, s := range all {
		p.Put(s)
	}
	kept := resident(t, p)
	if most := int64(cacheSize*size + many*(retain+stackSize) + 64<<10); kept > most {
		t.Errorf("%d bytes stay in RAM, at most %d may", kept, most)
	}
	// A stack that is used deeply in every round keeps its memory: else each round would bring it in again.
	s := get(t, p)
	held := s.held
	for range 3 * lookEvery {
		deep(s)
		p.Put(s)
		if got := get(t, p); got != s || got.held < held || held == 0 {
			t.Fatalf("the stack changed, or holds %d after %d", got.held, held)
		}
	}
	// A stack that is not used deeply any more gives the memory back.
	for range lookEvery {
		p.Put(s)
		s = get(t, p)
	}
	if s.held != 0 {
		t.Errorf("%d bytes are still held", s.held)
	}
	if first, _ := p.region.FirstResident(int(p.offset(s)), size); first != int(p.offset(s))+size-retain && first != int(p.offset(s))+size {
		t.Errorf("the stack is in RAM from %d on", first-int(p.offset(s)))
	}
	p.Put(s)
	// A depth a little beyond Retain is not worth a system call.
	s = get(t, p)
	s.Alloc(2*retain, 8)
	p.Put(s)
	if s.held != 0 {
		t.Errorf("%d bytes are held that are within bounds", s.held)
	}
	p.checkInvariants(nil)
}

func TestPurge(t *testing.T) {
	p := mustOpen(t, Config{Size: 64 << 10})
	var all []*Stack
	for range 64 {
		s := get(t, p)
		s.Alloc(20<<10, 8)[0] = 1
		all = append(all, s)
	}
	for i, s := range all {
		if i != 20 {
			p.Put(s)
		}
	}
	before := p.Stats()
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	p.checkInvariants(map[*Stack]bool{all[20]: true})
	after := p.Stats()
	if n := inRAM(t, p); n > 64<<10 {
		t.Errorf("%d bytes stay in RAM", n)
	}
	if after.Committed > before.Committed/2 || after.Stacks != int(p.index(all[20]))+1 || after.InUse != 1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if all[20].Used() != 20<<10 || all[20].head.Top != p.end(all[20])-20<<10 {
		t.Error("a stack in use was touched")
	}
	if b := unsafe.Slice((*byte)(all[20].at(all[20].head.Top)), 20<<10); b[0] != 1 {
		t.Error("contents are lost")
	}
	// A second Purge has nothing to do.
	stop := vm.Inject(vm.Madvise, 0, nil)
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	if calls := stop(); calls != 0 {
		t.Errorf("%d system calls for nothing", calls)
	}
	for range 100 {
		s := get(t, p)
		if b := whole(s); b[0] != 0 || b[len(b)-1] != 0 || b[len(b)-20<<10] != 0 {
			t.Fatal("a purged stack is not zero")
		}
		if f := touched(s, -1); f == nil || f.Kind != guard.Guarded {
			t.Fatalf("the guard is gone: %v", f)
		}
	}
	if s := p.Stats(); s.HighWater < 20<<10 {
		t.Errorf("the depth is forgotten: %+v", s)
	}
	for s := range p.inUse() {
		p.Put(s)
	}
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.HighWater < 20<<10 || s.Stacks != 0 {
		t.Errorf("the depth is forgotten with all stacks given back: %+v", s)
	}
}

// taken iterates over the stacks in use, as checkInvariants takes them.
func (p *Pool) taken() iter.Seq2[*Stack, bool] {
	return func(yield func(*Stack, bool) bool) {
		for s := range p.inUse() {
			if !yield(s, true) {
				return
			}
		}
	}
}

// inUse iterates over the stacks in use.
func (p *Pool) inUse() iter.Seq[*Stack] {
	return func(yield func(*Stack) bool) {
		for i := range p.initialized.Load() / stackSize {
			if s := p.stack(i); s.head.State == header.StateUsed && !yield(s) {
				return
			}
		}
	}
}

// TestPurgeTakesAll purges stacks after native code ran on them, and after an earlier discard. Purge gives back
// all of their memory.
func TestPurgeTakesAll(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := mustOpen(t, Config{Size: 256 << 10, Retain: 16 << 10})
	var got [8]*Stack // stacks that stay in use keep Purge from decommitting the others
	for range got {
		s := get(t, p)
		got[p.index(s)] = s
	}
	all, shallow := got[:3], got[3]
	for _, s := range all {
		clear(s.Alloc(200<<10, 8))
	}
	all[0].head.Native = true
	// Native code left one OS page in RAM, and nothing else did.
	shallow.head.Native, shallow.head.Limit = true, shallow.head.Top
	b := whole(shallow)
	b[len(b)-1] = 1
	p.Put(shallow)
	for _, s := range all {
		p.Put(s)
	}
	if err := p.discard(all[1], uintptr(p.config.Retain)); err != nil {
		t.Fatal(err)
	}
	p.checkInvariants(maps.Collect(p.taken()))
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	for i, s := range got[:4] {
		first, err := p.region.FirstResident(int(p.offset(s)), int(p.size))
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil || first != int(p.offset(s)+p.size) {
			t.Errorf("stack %d is in RAM from %d on, %v", i, first-int(p.offset(s)), err)
		}
		if s != shallow && s.highWater() < 200<<10 {
			t.Errorf("stack %d was %d deep", i, s.highWater())
		}
	}
	if s := p.Stats(); s.HighWater < 200<<10 {
		t.Errorf("%+v", s)
	}
	p.checkInvariants(maps.Collect(p.taken()))
}

func TestClose(t *testing.T) {
	before := guard.Usage()
	p, err := OpenPool(Config{Name: "closing", Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := get(t, p), get(t, p), get(t, p)
	x := New[int](a)
	p.Put(c)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := p.TryGet(); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("TryGet: %v", err)
	}
	stacktest.Violates(t, "Get", func() { p.Get() }, "use after close")
	if err := p.Purge(); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("Purge: %v", err)
	}
	// Stacks in use stay usable.
	*x = 7
	*New[int](b) = 8
	p.Put(a)
	p.Put(b)
	if f := guard.Catch(func() { *x = 9 }); f == nil {
		t.Error("the memory is still there after the last Put")
	}
	if err := p.Close(); !errors.Is(err, guard.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
	if s := p.Stats(); s.Committed != 0 || s.Reserved != 0 || s.HighWater != 8 {
		t.Errorf("after all: %+v", s)
	}
	after := guard.Usage()
	if after.Regions != before.Regions || after.Committed != before.Committed {
		t.Errorf("left behind: before %+v, after %+v", before, after)
	}
}

// TestLeakIsReported drops a pool without Close. It is reported, although layouts has its layout.
func TestLeakIsReported(t *testing.T) {
	told := make(chan guard.Info, 10)
	guard.SetOnLeak(func(in guard.Info) { told <- in })
	defer guard.SetOnLeak(nil)
	func() {
		p, err := OpenPool(Config{Name: "leaked", Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		get(t, p)
	}()
	for range 100 {
		runtime.GC()
		select {
		case in := <-told:
			if in.Name == "leaked" {
				return
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("nothing was told")
}

func TestStats(t *testing.T) {
	p := mustOpen(t, Config{Size: 64 << 10, Max: 20})
	for i := range 7 {
		s := get(t, p)
		s.Alloc(1<<10<<i, 8)
		if s.HighWater() != 1<<10<<i || s.Used() != 1<<10<<i {
			t.Errorf("high water %d, used %d", s.HighWater(), s.Used())
		}
		if i%2 == 0 {
			p.Put(s)
			if got := get(t, p); got.Used() != 0 {
				t.Error("what was put is in use")
			} else if got == s && got.HighWater() != 1<<10<<i {
				t.Errorf("high water %d was forgotten", 1<<10<<i)
			}
		}
	}
	s := p.Stats()
	if s.HighWater != 64<<10 || s.InUse != 7 || s.Live < 2<<10+8<<10+32<<10 {
		t.Errorf("%+v", s)
	}
	if s.Reserved < s.Committed || s.Committed < inRAM(t, p) {
		t.Errorf("the figures do not add up: %+v", s)
	}
	n := 0
	for i, d := range s.Depths {
		n += d.Stacks
		if d.UpTo != firstColumn<<i {
			t.Errorf("column %d is up to %d", i, d.UpTo)
		}
	}
	if n != s.Stacks || len(s.Depths) != 7 {
		t.Errorf("%d stacks in %v", n, s.Depths)
	}
}

func TestBudget(t *testing.T) {
	p := mustOpen(t, Config{Size: 1 << 20})
	if _, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + 10<<20}); err != nil {
		t.Fatal(err)
	}
	defer guard.SetBudget(guard.Budget{})
	taken := map[*Stack]bool{}
	for {
		s, err := p.TryGet()
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "budget") {
				t.Error(err)
			}
			break
		}
		taken[s] = true
	}
	if len(taken) != 9 {
		t.Errorf("%d stacks of 1 MiB and their guards fit into 10 MiB", len(taken))
	}
	p.checkInvariants(taken)
	for s := range taken {
		p.Put(s)
	}
	if err := p.Purge(); err != nil {
		t.Fatal(err)
	}
	if c := p.Stats().Committed; c > 64<<10 {
		t.Errorf("%d bytes are charged after Purge", c)
	}
}

// TestMapLimit gets stacks with PROT_NONE guards until the process has no room for more mappings. The error names
// the limit.
func TestMapLimit(t *testing.T) {
	if guard.LightGuards() {
		t.Skip("guards are markers here; with OFFHEAP_GUARDS=mprotect this test runs")
	}
	b, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Skip(err)
	}
	p := mustOpen(t, Config{Size: 4096, Max: 100_000})
	n := 0
	for {
		_, err := p.TryGet()
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "max_map_count") || !strings.Contains(err.Error(), "stacks") {
				t.Error(err)
			}
			break
		}
		n++
	}
	t.Logf("%d stacks with vm.max_map_count %s", n, strings.TrimSpace(string(b)))
	if n < 1000 {
		t.Errorf("only %d", n)
	}
}
