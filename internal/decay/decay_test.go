package decay

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	var g Gate
	g.Shut(1000)
	for _, step := range []struct {
		now, since uint32
		ok         bool
	}{
		{1000, 0, false},
		{1000 + Beat - 1, Beat - 1, false},
		{1000 + Beat, Beat, true},
		{1000 + Beat, 0, false},
		{5000, 4000 - Beat, true},
	} {
		if since, ok := g.Pass(step.now); since != step.since || ok != step.ok {
			t.Errorf("at %d: %d %v, want %d %v", step.now, since, ok, step.since, step.ok)
		}
	}
	g.Shut(1<<32 - 10) // the clock wraps
	if since, ok := g.Pass(Beat - 11); ok || since != Beat-1 {
		t.Errorf("before a beat that wraps: %d %v", since, ok)
	}
	if since, ok := g.Pass(Beat - 10); !ok || since != Beat {
		t.Errorf("after a beat that wraps: %d %v", since, ok)
	}
}

// TestHammerGate has goroutines ask at the same time: one passes.
func TestHammerGate(t *testing.T) {
	var g Gate
	for round := range uint32(1000) {
		var passed atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, ok := g.Pass((round + 1) * Beat); ok {
					passed.Add(1)
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 {
			t.Fatalf("%d goroutines passed", passed.Load())
		}
	}
}

func TestTicks(t *testing.T) {
	before := Ticks()
	time.Sleep(20 * time.Millisecond)
	if d := Ticks() - before; d < 20 || d > 20_000 {
		t.Errorf("20 ms are %d ticks", d)
	}
}
