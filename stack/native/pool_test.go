package native

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// mustOpen opens a pool for as long as the test goes on; by then its stacks must have been put. It is small
// where nothing else is said: emulators take memory for addresses.
func mustOpen(t testing.TB, c stack.Config) *stack.Pool {
	t.Helper()
	if c.Max == 0 {
		c.Max = 1000
	}
	p, err := stack.OpenPool(c)
	stacktest.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Reserved != 0 && !t.Failed() {
			t.Errorf("the test leaves stacks in use: %+v", s)
		}
	})
	return p
}

// get gets a stack, which the test puts.
func get(t testing.TB, p *stack.Pool) *stack.Stack {
	t.Helper()
	s, err := p.TryGet()
	stacktest.NoError(t, err)
	return s
}

// hold gets a stack for as long as the test goes on.
func hold(t testing.TB, p *stack.Pool) *stack.Stack {
	t.Helper()
	s := get(t, p)
	t.Cleanup(func() { p.Put(s) })
	return s
}

// checkIdle fails the test unless all stacks of the pool are idle, and those that it gets are different
// ones, empty, and read zero. It gets as many as there are; some may be new, when the goroutine moves to
// another processor meanwhile.
func checkIdle(t testing.TB, p *stack.Pool) {
	t.Helper()
	before := p.Stats()
	if before.InUse != 0 || before.Live != 0 {
		t.Errorf("stacks are in use: %+v", before)
	}
	seen := map[*stack.Stack]bool{}
	for range before.Stacks {
		s := get(t, p)
		if seen[s] {
			t.Fatal("a stack was handed out twice")
		}
		seen[s] = true
		if s.Used() != 0 {
			t.Errorf("a new stack has %d bytes in use", s.Used())
		}
		mustBeZero(t, s.Alloc(s.Size(), 8))
	}
	for s := range seen {
		p.Put(s)
	}
}

// checkInUse fails the test unless the stack has that many bytes in use, and what it hands out reads zero.
func checkInUse(t testing.TB, s *stack.Stack, used int) {
	t.Helper()
	if s.Used() != used {
		t.Fatalf("%d bytes are in use, want %d", s.Used(), used)
	}
	f := s.Push()
	mustBeZero(t, s.Alloc(4<<10, 8))
	s.Pop(f)
}

func mustBeZero(t testing.TB, b []byte) {
	t.Helper()
	for i, x := range b {
		if x != 0 {
			t.Fatalf("byte %d is %d", i, x)
		}
	}
}
