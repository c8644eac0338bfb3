package stack

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideOnSoftUsesThePool lets OnSoft use the pool whose Get has met the soft limit.
func TestOutsideOnSoftUsesThePool(t *testing.T) {
	for name, use := range map[string]func(p *Pool, held *Stack) error{
		"Get": func(p *Pool, _ *Stack) error {
			s, err := p.TryGet()
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
		p, err := OpenPool(Config{Size: 1 << 20, Max: 100}) // not mustOpen: its cleanup would wait for the lock of a pool that hangs
		stacktest.NoError(t, err)
		held := get(t, p)
		calls := 0
		stacktest.SetBudget(t, guard.Budget{Soft: guard.Committed() + 1<<20, OnSoft: func(int64) {
			calls++
			if err := use(p, held); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}})
		stacktest.EndsSoon(t, func() {
			for range 20 {
				if _, err := p.TryGet(); err != nil && !(name == "Close" && errors.Is(err, guard.ErrClosed)) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
		if calls == 0 {
			t.Errorf("%s: OnSoft was not called", name)
		}
		stacktest.SetBudget(t, guard.Budget{})
		for s := range p.inUse() {
			p.Put(s)
		}
		if err := p.Close(); err != nil && name != "Close" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOutsideOnSoftAtTheHardLimit lets OnSoft give memory back at the hard limit, in another pool or in this
// one. Get calls it once, and then tries again.
func TestOutsideOnSoftAtTheHardLimit(t *testing.T) {
	p, err := OpenPool(Config{Size: 1 << 20, Max: 100})
	stacktest.NoError(t, err)
	other := mustOpen(t, Config{Size: 1 << 20, Max: 100})
	var spare, own []*Stack
	for range 8 {
		spare = append(spare, get(t, other))
	}
	// Purge decommits only stacks that no stack in use follows.
	slices.SortFunc(spare, func(a, b *Stack) int { return cmp.Compare(other.index(a), other.index(b)) })
	calls, give := 0, true
	stacktest.SetBudget(t, guard.Budget{Hard: guard.Committed() + 8<<20, OnSoft: func(int64) {
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
	stacktest.EndsSoon(t, func() {
		for range 14 { // 7 stacks fit, and OnSoft makes room for others
			s, err := p.TryGet()
			if err != nil {
				t.Fatalf("after %d: %v", len(own), err)
			}
			own = append(own, s)
		}
		if calls == 0 {
			t.Error("OnSoft was not called")
		}
		// OnSoft puts a stack of this pool.
		for len(spare) > 0 {
			other.Put(spare[0])
			spare = spare[1:]
		}
		for range 20 {
			s, err := p.TryGet()
			if err != nil {
				t.Fatalf("with %d in use: %v", len(own), err)
			}
			own = append(own, s)
		}
		// OnSoft gives nothing: it is called once, and Get returns an error.
		give, calls = false, 0
		if _, err := p.TryGet(); !errors.Is(err, guard.ErrNoMemory) || !strings.Contains(err.Error(), "budget") {
			t.Errorf("with nothing given back: %v", err)
		}
		if calls > 2 {
			t.Errorf("OnSoft was called %d times", calls)
		}
	})
	stacktest.SetBudget(t, guard.Budget{})
	taken := map[*Stack]bool{}
	for s := range p.inUse() {
		taken[s] = true
	}
	p.checkInvariants(taken)
	for s := range taken {
		p.Put(s)
	}
	stacktest.NoError(t, p.Close())
}

// TestOutsideOnSoftPanics lets OnSoft panic or end the goroutine in Get. No stack is lost.
func TestOutsideOnSoftPanics(t *testing.T) {
	p, err := OpenPool(Config{Size: 1 << 20, Max: 100})
	stacktest.NoError(t, err)
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
			stacktest.SetBudget(t, b)
			stacktest.EndsSoon(t, func() {
				defer func() { recover() }()
				for range 50 {
					s, err := p.TryGet()
					if err != nil {
						return
					}
					taken[s] = true
				}
			})
			stacktest.SetBudget(t, guard.Budget{})
			if !called {
				t.Errorf("%s, hard %v: OnSoft was not called", name, hard)
			}
			stacktest.EndsSoon(t, func() {
				defer func() {
					if broken := recover(); broken != nil {
						t.Errorf("%s, hard %v: %v", name, hard, broken)
					}
				}()
				p.checkInvariants(taken)
				if s := p.Stats(); s.InUse != len(taken) {
					t.Errorf("%s, hard %v: %d stacks are in use, want %d", name, hard, s.InUse, len(taken))
				}
				for s := range taken {
					p.Put(s)
				}
				stacktest.NoError(t, p.Purge())
			})
		}
	}
	stacktest.NoError(t, p.Close())
}
