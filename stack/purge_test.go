package stack

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsidePurgeErrors lets Purge fail in the same way for many stacks. The error says so once, with their
// number.
func TestOutsidePurgeErrors(t *testing.T) {
	const many = 1000
	p := mustOpen(t, Config{Size: guard.PageSize(), Max: many + 2})
	var all [many + 2]*Stack
	for range all {
		s := get(t, p)
		s.Alloc(8, 8)[0] = 1
		all[p.index(s)] = s
	}
	for _, s := range all[:many+1] { // the last stack keeps the others committed
		p.Put(s)
	}
	// The region refuses to discard memory that is not writable. One more stack fails in another way.
	protect := func(prot guard.Prot) {
		stacktest.NoError(t, p.region.Protect(int(p.firstGuard), many*int(p.stride), prot))
	}
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
	stacktest.NoError(t, p.Purge())
	p.checkInvariants(map[*Stack]bool{all[many+1]: true})
}

// TestOutsideNoResidency hides from the pool which memory is in RAM. Purge gives back all memory that native
// code may have touched.
func TestOutsideNoResidency(t *testing.T) {
	p := mustOpen(t, Config{Size: 64 << 10, Max: 10})
	a, b := get(t, p), get(t, p)
	s := p.stack(min(p.index(a), p.index(b))) // the other stack keeps this one committed
	s.head.Native, s.head.Limit = true, s.head.Top
	clear(whole(s)) // into RAM, as native code would
	p.Put(s)
	stop := vm.Inject(vm.Mincore, 1, syscall.EPERM)
	err := p.Purge()
	calls := stop()
	stacktest.NoError(t, err)
	if calls == 0 {
		t.Skip("the system never tells")
	}
	if first, err := p.region.FirstResident(int(p.offset(s)), int(p.size)); err != nil || first != int(p.offset(s)+p.size) {
		t.Errorf("the stack is in RAM from %d on, %v", first-int(p.offset(s)), err)
	}
}
