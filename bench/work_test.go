package bench

import (
	"bytes"
	"sync"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/internal/workload/copies"
)

// TestLoops compares the loops of the other allocators with those of slabHeap.
func TestLoops(t *testing.T) {
	others := []string{"slabLocal", "zeroedHeap", "slabPool64", "slabPool1K", "slabNew64", "slabNew1K", "modernc", "*lockedModernc", "mcacheBytes",
		"syncPool64", "syncPool1K", "calloc", "goHeap", "*overlapping"}
	var words [][]string
	for _, other := range others {
		to := []string{"slabHeap", other, "Copies for the other allocators are in loops_others_test.go: see TestLoops.", ""}
		if other == "modernc" {
			to = append(to, "from.Alloc(size)", "sized(first(from.a.UnsafeMalloc(size)), size)")
		}
		words = append(words, to)
	}
	copies.Check(t, "loops_test.go", "// The loops of", "loops_others_test.go", words...)
}

// TestPeers fills, checks and replaces objects of each peer on two goroutines at a time.
func TestPeers(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			open := p.open(t)
			var both sync.WaitGroup
			for g := range 2 {
				from := open()
				both.Go(func() { replace(t, p, from, workload.Random(g)) })
			}
			both.Wait()
		})
	}
}

func replace(t *testing.T, p peer, from allocator, state workload.Random) {
	const objects, rounds = 1000, 10
	slots := make([][]byte, objects)
	for round := range rounds {
		for i := range slots {
			if slots[i] != nil && !filled(slots[i], byte(i)) {
				t.Errorf("round %d: object %d of %d bytes was overwritten", round, i, len(slots[i]))
			}
		}
		for i := range slots {
			if slots[i] != nil && i%3 == round%3 {
				continue // kept for a while
			}
			if slots[i] != nil {
				from.Free(slots[i])
			}
			_, size := state.Draw(objects)
			if p.size != 0 {
				size = p.size
			}
			b := from.Alloc(size)
			if len(b) != size {
				t.Fatalf("%d bytes, want %d", len(b), size)
			}
			if p.zeroes && !filled(b, 0) {
				t.Fatalf("%d bytes that are not zero", size)
			}
			for j := range b {
				b[j] = byte(i)
			}
			slots[i] = b
		}
	}
	for i, b := range slots {
		if !filled(b, byte(i)) {
			t.Errorf("object %d of %d bytes was overwritten", i, len(b))
		}
		from.Free(b)
	}
}

func filled(b []byte, with byte) bool { return bytes.Count(b, []byte{with}) == len(b) }

// TestHandOver does the work of BenchmarkHandOver.
func TestHandOver(t *testing.T) {
	for _, p := range peers {
		if p.size == 0 && !p.apart {
			t.Run(p.name, func(t *testing.T) { must(t, handOver(p.open(t), 100_000)) })
		}
	}
}

// TestChurn does the work of BenchmarkChurn. The drivers for C allocators have 17,088,448 live bytes.
func TestChurn(t *testing.T) {
	for _, p := range peers {
		if p.size != 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			w := churner{from: p.open(t)(), slots: make([][]byte, live), state: 1000}
			w.fill()
			if got, err := w.drain(); got != 17_088_448 || err != nil {
				t.Errorf("%d bytes are live, want 17088448; %v", got, err)
			}
			w.fill()
			w.from.replace(&w, 200_000)
			_, err := w.drain()
			must(t, err)
		})
	}
}

// overlapping is a bad allocator: all its objects have the same address.
type overlapping struct{ memory [4096]byte }

func (o *overlapping) Alloc(size int) []byte { return o.memory[:size] }
func (o *overlapping) Free([]byte)           {}

// TestChecks shows that the benchmarks' checks can fail.
func TestChecks(t *testing.T) {
	bad := new(overlapping)
	w := churner{from: bad, slots: make([][]byte, live)}
	w.fill()
	if _, err := w.drain(); err == nil {
		t.Error("churn did not notice that objects overlap")
	}
	if err := handOver(func() allocator { return bad }, 1000); err == nil {
		t.Error("the hand-over did not notice that objects overlap")
	}
}
