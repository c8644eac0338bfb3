package stack

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/procpin"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// inChild is set in the process that alone starts.
const inChild = "OFFHEAP_TEST_STACK_CHILD"

// alone runs the test again in a process of its own, after some shell commands, and returns true in
// that process.
func alone(t *testing.T, first string) bool {
	t.Helper()
	if os.Getenv(inChild) != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", first+` && exec "$0" -test.run="^$1$" -test.v -test.short="$2"`, os.Args[0], t.Name(), fmt.Sprint(testing.Short()))
	cmd.Env = append(os.Environ(), inChild+"=1")
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		t.Skip(err)
	case bytes.Contains(out, []byte("Exec format error")):
		t.Skip("the test runs under an emulator and cannot start itself")
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%.1000s", out)
	case err != nil:
		t.Errorf("%v\n%.3000s", err, out)
	default:
		t.Logf("%.3000s", out)
	}
	return false
}

// within ends the test if f takes longer than some seconds, as it does when it hangs.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

// mustViolate runs f, which must panic with a violation of one of these kinds.
func mustViolate(t testing.TB, what string, f func(), kinds ...string) {
	t.Helper()
	var v *guard.Violation
	err := panicOf(f)
	if errors.As(err, &v) {
		for _, kind := range kinds {
			if v.What == kind {
				return
			}
		}
	}
	t.Errorf("%s: %v, want a violation of %q", what, err, kinds)
}

// Default pools leave three quarters of the addresses that are free, and do not shrink to nothing.
func TestOutsideAddressLimit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the test knows how much is free on Linux only")
	}
	if !alone(t, "ulimit -v 3000000") {
		return
	}
	const few = 16 << 20
	var pools []*Pool
	for {
		free := vm.FreeAddresses()
		p, err := Open(Config{})
		if err != nil {
			if !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "RLIMIT_AS") {
				t.Error(err)
			}
			break
		}
		pools = append(pools, p)
		s := p.Stats()
		if s.Reserved < few || uint64(s.Reserved) > free/4+4<<20 {
			t.Errorf("pool %d takes %d bytes of %d that are free", len(pools), s.Reserved, free)
		}
		if size := s.Reserved - int64(p.config.Max*(p.config.Size+p.config.Guard)); size < 0 || size > few {
			t.Errorf("pool %d has room for %d stacks in %d bytes", len(pools), p.config.Max, s.Reserved)
		}
		p.Put(get(t, p))
		if len(pools) > 100 {
			t.Fatal("a hundred pools were opened")
		}
	}
	t.Logf("%d pools, %d bytes left", len(pools), vm.FreeAddresses())
	if free := vm.FreeAddresses(); free < 2*few || len(pools) < 3 {
		t.Errorf("%d pools leave %d bytes free", len(pools), free)
	}
	// One that says how many stacks it wants gets them.
	p, err := Open(Config{Max: 100})
	mustDo(t, err)
	pools = append(pools, p)
	for range 100 {
		get(t, p)
	}
	for s := range p.inUse() {
		p.Put(s)
	}
	for _, p := range pools {
		mustDo(t, p.Close())
	}
	guard.SetQuarantine(0)
	// A quarter has no room for the largest stack.
	if _, err := Open(Config{Size: 1 << 30}); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "Config.Max") {
		t.Errorf("one stack that is too large: %v", err)
	}
}

// Processors that come after Open have a front as the others do, and Purge and Close take what is in it.
func TestOutsideLaterProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := mustOpen(t, Config{Max: 2000})
	p.Put(get(t, p))
	many := runtime.NumCPU() + 30
	runtime.GOMAXPROCS(many)
	seen, served := make([]atomic.Int64, many), make([]atomic.Int64, many)
	begin := time.Now()
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			for time.Since(begin) < 300*time.Millisecond { // long enough that each processor has its turn
				s, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				p.Put(s)
				f := p.enter()
				p.leave(f)
				pid := procpin.Pin()
				procpin.Unpin()
				seen[pid].Add(1)
				if f != nil {
					served[pid].Add(1)
				}
			}
		})
	}
	wg.Wait()
	later, fronts := 0, 0
	for pid := runtime.NumCPU(); pid < many; pid++ {
		if seen[pid].Load() >= 20 {
			later++
			if served[pid].Load() > 0 {
				fronts++
			}
		}
	}
	t.Logf("%d of %d later processors have a front", fronts, later)
	if later == 0 {
		t.Skip("no later processor was used")
	}
	if fronts < later {
		t.Errorf("%d of %d later processors never have a front", later-fronts, later)
	}
	p.check(nil)
	mustDo(t, p.Purge())
	if s := p.Stats(); s.Stacks != 0 || s.InUse != 0 {
		t.Errorf("after Purge: %+v", s)
	}
	p.check(nil)
}

// budget sets a budget that ends with the test.
func budget(t *testing.T, b guard.Budget) {
	t.Helper()
	t.Cleanup(func() { guard.SetBudget(guard.Budget{}) })
	mustDo(t, guard.SetBudget(b))
}

// OnSoft may use the pool that commits, at the soft limit.
func TestOutsideOnSoftUsesThePool(t *testing.T) {
	for name, use := range map[string]func(p *Pool, held *Stack) error{
		"Get": func(p *Pool, _ *Stack) error {
			s, err := p.Get()
			if err == nil {
				p.Put(s)
			}
			return err
		},
		"Put":   func(p *Pool, held *Stack) error { p.Put(held); return nil },
		"Purge": func(p *Pool, _ *Stack) error { return p.Purge() },
		"Stats": func(p *Pool, _ *Stack) error { p.Stats(); return nil },
		"Usage": func(p *Pool, _ *Stack) error { guard.Usage(); return nil },
		"Close": func(p *Pool, _ *Stack) error { return p.Close() },
	} {
		p, err := Open(Config{Size: 1 << 20, Max: 100}) // not mustOpen, which would wait for a lock
		mustDo(t, err)
		held := get(t, p)
		calls := 0
		budget(t, guard.Budget{Soft: guard.Committed() + 1<<20, OnSoft: func(int64) {
			calls++
			if err := use(p, held); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}})
		within(t, func() {
			for range 20 {
				if _, err := p.Get(); err != nil && !(name == "Close" && errors.Is(err, guard.ErrClosed)) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
		if calls == 0 {
			t.Errorf("%s: OnSoft was not called", name)
		}
		mustDo(t, guard.SetBudget(guard.Budget{}))
		for s := range p.inUse() {
			p.Put(s)
		}
		if err := p.Close(); err != nil && name != "Close" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// At the hard limit OnSoft has one chance to give memory back, also to this pool, and then Get tries
// again.
func TestOutsideOnSoftAtTheHardLimit(t *testing.T) {
	p, err := Open(Config{Size: 1 << 20, Max: 100})
	mustDo(t, err)
	other := mustOpen(t, Config{Size: 1 << 20, Max: 100})
	var spare, own []*Stack
	for range 8 {
		spare = append(spare, get(t, other))
	}
	// Purge gives back what no stack in use follows.
	slices.SortFunc(spare, func(a, b *Stack) int { return cmp.Compare(other.index(a), other.index(b)) })
	calls, give := 0, true
	budget(t, guard.Budget{Hard: guard.Committed() + 8<<20, OnSoft: func(int64) {
		calls++
		switch {
		case !give:
		case len(spare) > 0:
			other.Put(spare[len(spare)-1])
			spare = spare[:len(spare)-1]
			if err := other.Purge(); err != nil {
				t.Error(err)
			}
		case len(own) > 0:
			p.Put(own[0])
			own = own[1:]
		}
	}})
	within(t, func() {
		for range 14 { // 7 fit, and OnSoft makes room for others
			s, err := p.Get()
			if err != nil {
				t.Fatalf("after %d: %v", len(own), err)
			}
			own = append(own, s)
		}
		if calls == 0 {
			t.Error("OnSoft was not called")
		}
		// It puts a stack of this pool.
		for len(spare) > 0 {
			other.Put(spare[0])
			spare = spare[1:]
		}
		for range 20 {
			s, err := p.Get()
			if err != nil {
				t.Fatalf("with %d in use: %v", len(own), err)
			}
			own = append(own, s)
		}
		// It gives nothing: one call, and an error.
		give, calls = false, 0
		if _, err := p.Get(); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "budget") {
			t.Errorf("with nothing given back: %v", err)
		}
		if calls > 2 {
			t.Errorf("OnSoft was called %d times", calls)
		}
	})
	mustDo(t, guard.SetBudget(guard.Budget{}))
	taken := map[*Stack]bool{}
	for s := range p.inUse() {
		taken[s] = true
	}
	p.check(taken)
	for s := range taken {
		p.Put(s)
	}
	mustDo(t, p.Close())
}

// An OnSoft that panics, or ends the goroutine, takes no stack with it.
func TestOutsideOnSoftPanics(t *testing.T) {
	p, err := Open(Config{Size: 1 << 20, Max: 100})
	mustDo(t, err)
	for name, end := range map[string]func(){"panic": func() { panic("no") }, "Goexit": runtime.Goexit} {
		for _, hard := range []bool{false, true} {
			taken := map[*Stack]bool{get(t, p): true}
			called := false
			b := guard.Budget{OnSoft: func(int64) { called = true; end() }}
			if hard {
				b.Hard = guard.Committed() + 4<<20
			} else {
				b.Soft = guard.Committed() + 2<<20
			}
			budget(t, b)
			within(t, func() {
				defer func() { recover() }()
				for range 50 {
					s, err := p.Get()
					if err != nil {
						return
					}
					taken[s] = true
				}
			})
			mustDo(t, guard.SetBudget(guard.Budget{}))
			if !called {
				t.Errorf("%s, hard %v: OnSoft was not called", name, hard)
			}
			within(t, func() {
				defer func() {
					if broken := recover(); broken != nil {
						t.Errorf("%s, hard %v: %v", name, hard, broken)
					}
				}()
				p.check(taken)
				if s := p.Stats(); s.InUse != len(taken) {
					t.Errorf("%s, hard %v: %d stacks are in use, want %d", name, hard, s.InUse, len(taken))
				}
				for s := range taken {
					p.Put(s)
				}
				mustDo(t, p.Purge())
			})
		}
	}
	mustDo(t, p.Close())
}

// LoadCode and LoadObject leave nothing behind when OnSoft panics.
func TestOutsideOnSoftPanicsWhileLoading(t *testing.T) {
	needNative(t)
	path := build(t, kernels)
	nothingLeft(t)
	for name, load := range map[string]func(){
		"LoadCode":   func() { LoadCode([]byte{1, 2, 3, 4}) },
		"LoadObject": func() { LoadObject(path) },
	} {
		budget(t, guard.Budget{Soft: guard.Committed() + 1, OnSoft: func(int64) { panic(errors.New("no")) }})
		if err := panicOf(load); err == nil || err.Error() != "no" {
			t.Errorf("%s: %v", name, err)
		}
		mustDo(t, guard.SetBudget(guard.Budget{}))
	}
}

// Purge that fails alike for many stacks says so once.
func TestOutsidePurgeErrors(t *testing.T) {
	const many = 1000
	p := mustOpen(t, Config{Size: guard.PageSize(), Max: many + 2})
	var all [many + 2]*Stack
	for range all {
		s := get(t, p)
		s.Alloc(8, 8)[0] = 1
		all[p.index(s)] = s
	}
	for _, s := range all[:many+1] { // the last one keeps the others committed
		p.Put(s)
	}
	// Guard refuses to discard what cannot be written to. One more fails otherwise.
	protect := func(prot guard.Prot) { mustDo(t, p.region.Protect(int(p.cells), many*int(p.stride), prot)) }
	protect(guard.Read)
	stop := vm.Inject(vm.Madvise, 1, vm.OutOfMemory)
	err := p.Purge()
	calls := stop()
	protect(guard.ReadWrite)
	if err == nil || calls != 1 {
		t.Fatalf("%v after %d system calls", err, calls)
	}
	text := err.Error()
	if n := strings.Count(text, "not all of it is committed"); n != 1 || !strings.Contains(text, fmt.Sprintf("for %d stacks: ", many)) {
		t.Errorf("what %d stacks have in common is told %d times: %.1000s", many, n, text)
	}
	if !errors.Is(err, guard.ErrNoMemory) {
		t.Errorf("%v does not wrap ErrNoMemory", err)
	}
	mustDo(t, p.Purge())
	p.check(map[*Stack]bool{all[many+1]: true})
}

// What the system does not let be executed is an error that says what may be behind it.
func TestOutsideNoExecutableMemory(t *testing.T) {
	needNative(t)
	path := build(t, kernels)
	nothingLeft(t)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v does not wrap the kernel's error", what, err)
			return
		}
		for _, cause := range []string{"MDWE", "SELinux", "seccomp"} {
			if !strings.Contains(err.Error(), cause) {
				t.Errorf("%s: %v does not name %s", what, err, cause)
			}
		}
	}
	stop := vm.Inject(vm.Mprotect, 0, nil)
	c, err := LoadCode([]byte{1, 2, 3, 4})
	last := stop()
	mustDo(t, err, c.Close())
	stop = vm.Inject(vm.Mprotect, last, syscall.EACCES)
	_, err = LoadCode([]byte{1, 2, 3, 4})
	stop()
	check("LoadCode", err)

	stop = vm.Inject(vm.Mmap, 0, nil)
	o, err := LoadObject(path)
	last = stop()
	mustDo(t, err, o.Close())
	for nth := 2; nth <= last; nth++ { // the first reserves addresses
		for _, refusal := range []error{syscall.EACCES, syscall.EPERM} {
			stop = vm.Inject(vm.Mmap, nth, refusal)
			_, err = LoadObject(path)
			stop()
			check(fmt.Sprintf("LoadObject, mmap %d", nth), err)
			if err != nil && !strings.Contains(err.Error(), "noexec") {
				t.Errorf("LoadObject: %v does not name noexec", err)
			}
		}
	}
}

// The first Call puts a handler in place, which a sandbox may refuse.
func TestOutsideNoSignalHandler(t *testing.T) {
	needNative(t)
	if !alone(t, "true") {
		return
	}
	p := mustOpen(t, Config{})
	s := get(t, p)
	f := returns.load(t)
	for nth := range 2 {
		stop := vm.Inject(vm.Sigaction, nth+1, syscall.EPERM)
		_, err := s.Call(f)
		stop()
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "seccomp") {
			t.Errorf("rt_sigaction %d was refused: %v", nth+1, err)
		}
	}
	_, err := s.Call(f)
	mustDo(t, err)
}

// A zero value says what makes one that can be used; so does a nil pointer where nothing else can be meant.
func TestOutsideZeroValues(t *testing.T) {
	const (
		noPool   = "use of a zero Pool: stack.Open makes one"
		noCode   = "use of a zero Code: stack.LoadCode makes one"
		noObject = "use of a zero Object: stack.LoadObject makes one"
		noStack  = "use of a zero Stack: Pool.Get makes one"
	)
	if !alone(t, "true") { // a fault while the goroutine is pinned ends the process
		return
	}
	s := get(t, mustOpen(t, Config{}))
	for _, p := range []*Pool{nil, new(Pool)} {
		for name, f := range map[string]func(){
			"Get": func() { p.Get() }, "Put": func() { p.Put(s) }, "Purge": func() { p.Purge() },
			"Stats": func() { p.Stats() }, "Close": func() { p.Close() },
		} {
			mustViolate(t, fmt.Sprintf("%s, nil %v", name, p == nil), f, noPool)
		}
	}
	for _, c := range []*Code{nil, new(Code)} {
		mustViolate(t, "Code.Func", func() { c.Func(0) }, noCode)
		mustViolate(t, "Code.Close", func() { c.Close() }, noCode)
	}
	for _, o := range []*Object{nil, new(Object)} {
		mustViolate(t, "Object.Func", func() { o.Func("f") }, noObject)
		mustViolate(t, "Object.Close", func() { o.Close() }, noObject)
	}
	zero := new(Stack)
	for name, f := range map[string]func(){
		"Push": func() { zero.Push() }, "Pop": func() { zero.Pop(Frame{}) }, "New": func() { New[int](zero) },
		"New of nothing": func() { New[struct{}](zero) }, "TryNew": func() { TryNew[int](zero) },
		"MakeSlice": func() { MakeSlice[int](zero, 1, 1) }, "Alloc": func() { zero.Alloc(1, 1) },
		"Size": func() { zero.Size() }, "Used": func() { zero.Used() }, "HighWater": func() { zero.HighWater() },
		"Call": func() { zero.Call(1) }, "CallF": func() { zero.CallF(1) },
	} {
		mustViolate(t, name, f, noStack)
	}
	if *zero != (Stack{}) {
		t.Errorf("the zero Stack was changed: %+v", zero)
	}
}

// Putting nil does nothing, as in the other packages, whatever state the pool is in.
func TestOutsidePutNil(t *testing.T) {
	p, err := Open(Config{Max: 10})
	mustDo(t, err)
	s := get(t, p)
	put := func(when string) {
		t.Helper()
		if err := panicOf(func() { p.Put(nil) }); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	put("open")
	p.check(map[*Stack]bool{s: true})
	mustDo(t, p.Close())
	put("closing")
	p.Put(s)
	put("closed")
}

// go vet reports copies of what must not be copied: types with a field that has Lock and Unlock.
func TestOutsideNoCopies(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Pool](), reflect.TypeFor[Stack](), reflect.TypeFor[Code](), reflect.TypeFor[Object]()} {
		found := false
		for i := range typ.NumField() {
			found = found || typ.Field(i).Type == reflect.TypeFor[noCopy]()
		}
		if !found {
			t.Errorf("%v has no noCopy", typ)
		}
	}
}

// Pools are closed while others get, use and put their stacks. These get ErrClosed from Get and
// violations from all else, or nothing is wrong, because what is in use stays so until it is put.
func TestOutsideCloseUnderLoad(t *testing.T) {
	if !alone(t, "true") {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var fn Func
	if supported() == nil {
		fn = returns.load(t)
	}
	background(t, runtime.GC)
	for range rounds(100) {
		p, err := Open(Config{Size: 8 << 10, Max: 200})
		mustDo(t, err)
		var wg sync.WaitGroup
		var ended atomic.Int64
		for range 4 {
			wg.Go(func() {
				defer ended.Add(1)
				for {
					s, err := p.Get()
					if err != nil {
						if !errors.Is(err, guard.ErrClosed) {
							t.Errorf("Get: %v", err)
						}
						return
					}
					f := s.Push()
					New[[4]uint64](s)[0] = 1
					if fn != 0 {
						if _, err := s.Call(fn); err != nil {
							t.Errorf("Call: %v", err)
						}
					}
					s.Pop(f)
					p.Put(s)
				}
			})
		}
		wg.Go(func() {
			for ended.Load() < 4 {
				if err := p.Purge(); err != nil && !errors.Is(err, guard.ErrClosed) {
					t.Errorf("Purge: %v", err)
				}
				if s := p.Stats(); s.InUse > 4 {
					t.Errorf("%+v", s)
				}
				guard.Usage()
				time.Sleep(10 * time.Microsecond)
			}
		})
		time.Sleep(100 * time.Microsecond)
		mustDo(t, p.Close())
		wg.Wait()
		if s := p.Stats(); s.Reserved != 0 {
			t.Fatalf("the pool is not closed: %+v", s)
		}
	}
}

// Who goes on using a stack that was put is told so before and after its pool is closed, and nothing
// else happens: what the calls look at is readable again when Close returns.
func TestOutsideUseAroundClose(t *testing.T) {
	if !alone(t, "true") {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var fn Func
	if supported() == nil {
		fn = returns.load(t)
	}
	const putAlready, afterClose = "use after Put", "use after Close of the pool"
	for range rounds(100) {
		p, err := Open(Config{Size: 8 << 10, Max: 200})
		mustDo(t, err)
		s := get(t, p)
		f := s.Push()
		p.Put(s)
		var stop atomic.Bool
		var wg sync.WaitGroup
		var closing sync.RWMutex // while a region is being closed nothing of it can be read
		for name, use := range map[string]func(){
			"Push": func() { s.Push() }, "Pop": func() { s.Pop(f) }, "New": func() { New[int](s) },
			"Alloc": func() { s.Alloc(1, 1) }, "Used": func() { s.Used() }, "Call": func() { s.Call(fn) },
			"Put": func() { p.Put(s) },
		} {
			wg.Go(func() {
				for !stop.Load() {
					closing.RLock()
					mustViolate(t, name, use, putAlready, afterClose, "put twice", "stack of another pool", "stack of another pool, or this one is closed")
					closing.RUnlock()
					time.Sleep(time.Microsecond)
				}
			})
		}
		time.Sleep(50 * time.Microsecond)
		closing.Lock()
		err = p.Close()
		closing.Unlock()
		mustDo(t, err)
		time.Sleep(50 * time.Microsecond)
		stop.Store(true)
		wg.Wait()
	}
}

// A stack that was dropped without Put is counted as in use, by the pool and by CheckLeaks, and the
// region of its pool is reported when the pool was closed and dropped, too.
func TestOutsideDroppedStack(t *testing.T) {
	told := make(chan guard.Info, 10)
	guard.OnLeak(func(in guard.Info) { told <- in })
	defer guard.OnLeak(nil)
	func() {
		p, err := Open(Config{Name: "dropped", Size: 64 << 10, Max: 10})
		mustDo(t, err)
		var reports recorder
		guard.CheckLeaks(&reports)
		get(t, p).Alloc(1000, 8)
		reports.end()
		if len(reports.errors) != 1 || !strings.Contains(reports.errors[0], "1 objects, were 0; 1000 bytes, were 0") {
			t.Errorf("CheckLeaks: %q", reports.errors)
		}
		mustDo(t, p.Close())
		if s := p.Stats(); s.InUse != 1 || s.Live != 1000 || s.Reserved == 0 {
			t.Errorf("after Close: %+v", s)
		}
	}()
	for range 100 {
		runtime.GC()
		select {
		case in := <-told:
			if in.Name != "dropped" {
				continue
			}
			if !in.Leaked || in.Live != 1000 || in.Committed < 64<<10 || !strings.Contains(in.Opened, "TestOutsideDroppedStack") {
				t.Errorf("%+v", in)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("nothing was told")
}

// Where the system does not tell what is in RAM, what native code may have touched is given back all
// the same.
func TestOutsideNoResidency(t *testing.T) {
	p := mustOpen(t, Config{Size: 64 << 10, Max: 10})
	a, b := get(t, p), get(t, p)
	s := p.stack(min(p.index(a), p.index(b))) // the other keeps it committed
	s.native, s.limit = true, s.top
	clear(whole(s)) // into RAM, as native code would
	p.Put(s)
	stop := vm.Inject(vm.Mincore, 1, syscall.EPERM)
	err := p.Purge()
	calls := stop()
	mustDo(t, err)
	if calls == 0 {
		t.Skip("the system never tells")
	}
	if first, err := p.region.FirstResident(int(p.offset(s)), int(p.size)); err != nil || first != int(p.offset(s)+p.size) {
		t.Errorf("the stack is in RAM from %d on, %v", first-int(p.offset(s)), err)
	}
}

// recorder is a test for CheckLeaks.
type recorder struct {
	guard.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, a ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, a...))
}

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}
