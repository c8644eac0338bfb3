package stack

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideZeroValues uses zero values and nil pointers. The violation names the call that makes a usable one.
func TestOutsideZeroValues(t *testing.T) {
	const (
		noPool  = "use of a zero value: stack.OpenPool makes a Pool"
		noStack = "use of a zero value: Pool.Get makes a Stack"
	)
	if !stacktest.InOwnProcess(t) { // a fault while the goroutine is pinned ends the process
		return
	}
	s := get(t, mustOpen(t, Config{}))
	for _, p := range []*Pool{nil, new(Pool)} {
		for name, f := range map[string]func(){
			"Get": func() { p.Get() }, "TryGet": func() { p.TryGet() }, "Put": func() { p.Put(s) }, "Purge": func() { p.Purge() },
			"Stats": func() { p.Stats() }, "Close": func() { p.Close() },
		} {
			stacktest.Violates(t, fmt.Sprintf("%s, nil %v", name, p == nil), f, noPool)
		}
	}
	zero := new(Stack)
	for _, s := range []*Stack{nil, zero} {
		for name, f := range map[string]func(){
			"TryNew": func() { TryNew[int](s) }, "MakeSlice": func() { MakeSlice[int](s, 1, 1) }, "Alloc": func() { s.Alloc(1, 1) },
			"TryMakeSlice of no length": func() { TryMakeSlice[int](s, -1, 0) }, "TryAlloc of no alignment": func() { s.TryAlloc(1, 3) },
			"Size": func() { s.Size() }, "Used": func() { s.Used() }, "HighWater": func() { s.HighWater() },
		} {
			stacktest.Violates(t, fmt.Sprintf("%s, nil %v", name, s == nil), f, noStack)
		}
	}
	// These are inlined, and nil is Go's own panic.
	for name, f := range map[string]func(){
		"Push": func() { zero.Push() }, "Pop": func() { zero.Pop(Frame{}) }, "New": func() { New[int](zero) },
		"New of nothing": func() { New[struct{}](zero) },
	} {
		stacktest.Violates(t, name, f, noStack)
	}
	if *zero != (Stack{}) {
		t.Errorf("the zero Stack was changed: %+v", zero)
	}
}

// TestOutsidePutNil puts nil in every state of the pool. It does nothing, as in the other packages.
func TestOutsidePutNil(t *testing.T) {
	p, err := OpenPool(Config{Max: 10})
	stacktest.NoError(t, err)
	s := get(t, p)
	put := func(when string) {
		t.Helper()
		if err := stacktest.PanicOf(func() { p.Put(nil) }); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	put("open")
	p.checkInvariants(map[*Stack]bool{s: true})
	stacktest.NoError(t, p.Close())
	put("closing")
	p.Put(s)
	put("closed")
}

// TestOutsideNoCopies looks for the field by which go vet reports copies of a type.
func TestOutsideNoCopies(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Pool](), reflect.TypeFor[Stack]()} {
		found := false
		for i := range typ.NumField() {
			found = found || typ.Field(i).Type == reflect.TypeFor[nocopy.NoCopy]()
		}
		if !found {
			t.Errorf("%v has no noCopy", typ)
		}
	}
}
