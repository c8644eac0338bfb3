package native

import (
	"testing"

	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// mustOpen opens a pool until the test ends; the test must put all stacks. The default of Max is small here,
// because emulators take memory for addresses.
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

// get gets a stack. The test must put it.
func get(t testing.TB, p *stack.Pool) *stack.Stack {
	t.Helper()
	s, err := p.TryGet()
	stacktest.NoError(t, err)
	return s
}

// hold gets a stack and puts it when the test ends.
func hold(t testing.TB, p *stack.Pool) *stack.Stack {
	t.Helper()
	s := get(t, p)
	t.Cleanup(func() { p.Put(s) })
	return s
}

// checkIdle fails the test if a stack of the pool is in use. It gets as many stacks as there are: all must be
// different, empty, and read zero. Some may be new ones, if the goroutine moves to another processor.
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

// checkInUse fails the test unless the stack has so many bytes in use and hands out zeroed memory.
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
