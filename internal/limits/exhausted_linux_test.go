//go:build !race

package limits

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/table"
)

// exhausted is the environment variable that tells a process of its own what to do.
const exhausted = "OFFHEAP_TEST_EXHAUSTED"

// alone runs a test again in a process of its own, after some shell commands.
func alone(t *testing.T, first, what string) (out string, err error) {
	t.Helper()
	return aloneNamed(t, t.Name(), first, what)
}

// aloneNamed is alone for the test with this name.
func aloneNamed(t *testing.T, name, first, what string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", first+` && exec "$0" -test.run="^$1$" -test.v`, os.Args[0], name)
	cmd.Env = append(os.Environ(), exhausted+"="+what)
	b, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) || bytes.Contains(b, []byte("Exec format error")) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	return string(b), err
}

// owner is an open allocator of any kind.
type owner struct {
	use   func() error // touches more memory with each call
	close func() error
}

func opener[H interface{ Close() error }](open func() (H, error), use func(H) error) func() (owner, error) {
	return func() (owner, error) {
		h, err := open()
		if err != nil {
			return owner{}, err
		}
		return owner{func() error { return use(h) }, h.Close}, nil
	}
}

const few = 64 << 20 // bytes of addresses

// openers open an owner of each kind.
var openers = []struct {
	name string
	open func() (owner, error)
}{
	{"region", opener(func() (*guard.Region, error) { return guard.Reserve(guard.Config{Size: 256 << 20, MinSize: few}) },
		func(r *guard.Region) error {
			at := int(r.Committed())
			if err := r.Commit(at, guard.PageSize()); err != nil {
				return err
			}
			return touched(r.Bytes()[at:][:guard.PageSize()], nil)
		})},
	{"arena", opener(func() (*arena.Arena, error) { return arena.Open(arena.Config{Reserve: few}) },
		func(a *arena.Arena) error { return touched(a.TryAlloc(1000, 8)) })},
	{"arena with maps", opener(func() (*arena.Arena, error) { return arena.Open(arena.Config{Reserve: few}) },
		func(a *arena.Arena) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = p.(error) // NewMap has no form that returns its error
				}
			}()
			return table.NewMap[uint64, uint64](a, 100).TryPut(1, 2)
		})},
	{"concurrent arena", opener(func() (*arena.Concurrent, error) { return arena.OpenConcurrent(arena.Config{Reserve: few}) },
		func(k *arena.Concurrent) error { return touched(k.TryAlloc(1000, 8)) })},
	{"heap", opener(func() (*slab.Heap, error) { return slab.Open(slab.Config{Reserve: few}) },
		func(h *slab.Heap) error { return touched(h.TryAlloc(1000, 8)) })},
	{"hardened heap", opener(func() (*slab.Heap, error) { return slab.Open(slab.Config{Reserve: few, Hardened: true}) },
		func(h *slab.Heap) error { return touched(h.TryAlloc(1000, 8)) })},
	{"pool", opener(func() (*slab.Pool[[1000]byte], error) { return slab.OpenPool[[1000]byte](slab.Config{Reserve: few}) },
		func(p *slab.Pool[[1000]byte]) error {
			x, err := p.TryGet()
			if err != nil {
				return err
			}
			return touched(x[:], nil)
		})},
	{"stacks", opener(func() (*stack.Pool, error) { return stack.OpenPool(stack.Config{Max: 1000}) },
		func(p *stack.Pool) error {
			s, err := p.TryGet()
			if err != nil {
				return err
			}
			return touched(s.TryAlloc(1000, 8))
		})},
}

// touched writes to fresh memory.
func touched(b []byte, err error) error {
	for i := range b {
		if b[i] != 0 {
			return fmt.Errorf("byte %d is %d", i, b[i])
		}
		b[i] = 1
	}
	return err
}

// TestAddressesExhausted opens owners of every kind until the process has no addresses left. The errors say so,
// the open owners work, and after Close there is room again.
func TestAddressesExhausted(t *testing.T) {
	if os.Getenv(exhausted) == "" {
		out, err := alone(t, "ulimit -v 3000000; export GODEBUG=asyncpreemptoff=1", "addresses")
		if err != nil {
			t.Errorf("%v\n%.3000s", err, out)
		}
		t.Logf("%.3000s", out)
		return
	}
	// Go cannot live without addresses. So the heap gets memory first, and some addresses are set aside
	// for it until no owner gets any.
	debug.SetGCPercent(-1)
	for range 48 {
		sink = make([]byte, 1<<20)
	}
	sink = nil
	runtime.GC()
	guard.SetQuarantine(0)
	for round := range 2 {
		spare, err := syscall.Mmap(-1, 0, 128<<20, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		var all []owner
		opened := map[string]int{}
		for left := len(openers); left > 0; {
			left = len(openers)
			for _, o := range openers {
				own, err := o.open()
				if err == nil {
					opened[o.name]++
					all = append(all, own)
				} else if left--; !errors.Is(err, guard.ErrNoMemory) {
					t.Fatalf("%s: the error does not wrap ErrNoMemory: %v", o.name, err)
				}
			}
		}
		if err := syscall.Munmap(spare); err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			for range 100 {
				if err := o.use(); err != nil {
					t.Fatalf("what is open does not work: %v", err)
				}
			}
		}
		for _, o := range all {
			if err := o.close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("opened %v", opened)
		if len(opened) < len(openers) {
			t.Errorf("round %d: not all kinds were opened", round)
		}
	}
}

var sink []byte

// TestMemoryExhausted runs under the memory limit of a control group. At this limit the kernel kills; only the
// budget turns that into an error.
func TestMemoryExhausted(t *testing.T) {
	const limit, hard = 64 << 20, 24 << 20
	switch os.Getenv(exhausted) {
	case "budget":
		if _, err := guard.SetBudget(guard.Budget{Hard: hard}); err != nil {
			t.Fatal(err)
		}
		for _, o := range openers {
			own, err := o.open()
			for n := 0; err == nil; n++ {
				if err = own.use(); n > 4*limit/1000 {
					t.Fatalf("%s: nothing refuses", o.name)
				}
			}
			if !errors.Is(err, guard.ErrNoMemory) || guard.Committed() > hard {
				t.Fatalf("%s: %v with %d bytes committed", o.name, err, guard.Committed())
			}
			if err := own.close(); err != nil {
				t.Fatal(err)
			}
		}
		return
	case "no budget":
		a, err := arena.Open(arena.Config{})
		for range 4 * limit >> 20 {
			if err == nil {
				err = touched(a.TryAlloc(1<<20, 8))
			}
		}
		t.Logf("4 times the limit of the control group: %v", err)
		return
	}
	group := controlGroup(t, limit)
	out, err := alone(t, "echo $$ >"+group+"/cgroup.procs", "no budget")
	var exit *exec.ExitError
	if err == nil {
		t.Skipf("the control group does not bound memory here: %s", out)
	}
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("without a budget: %v, want a kill\n%.3000s", err, out)
	}
	if out, err = alone(t, "echo $$ >"+group+"/cgroup.procs", "budget"); err != nil {
		t.Errorf("with a budget: %v\n%.3000s", err, out)
	}
}

// controlGroup makes a control group with a memory limit, until the test ends.
func controlGroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	var errs []error
	for _, version := range []struct{ root, limit, swap string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max"},
	} {
		dir = fmt.Sprintf("%s/offheap-test-%d", version.root, os.Getpid())
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			t.Cleanup(func() {
				// A killed process may stay in the group for a moment.
				for range 100 {
					if err = os.Remove(dir); err == nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				t.Errorf("the control group stays: %v", err)
			})
			err = os.WriteFile(filepath.Join(dir, version.limit), []byte(strconv.Itoa(limit)), 0)
		}
		if err == nil {
			swap := strconv.Itoa(limit) // version 1 counts memory and swap together
			if version.limit == "memory.max" {
				swap = "0"
			}
			_ = os.WriteFile(filepath.Join(dir, version.swap), []byte(swap), 0) // the file is missing without swap
			return dir
		}
		errs = append(errs, err)
	}
	t.Skipf("no control group can be made here: %v", errors.Join(errs...))
	return ""
}
