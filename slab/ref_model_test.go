package slab

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRefModel allocates, frees, resizes and resets at random: references to live objects are good, all others stale.
func TestRefModel(t *testing.T) {
	everyMode(t, func(t *testing.T, c Config) {
		h := open(t, c)
		rnd := rand.New(rand.NewPCG(1, 2))
		type obj struct {
			b    []byte
			r    Ref
			fill byte
		}
		var live []obj
		var stale []Ref
		locals := []*Local{h.Local(), h.Local()}
		sizes := []int{0, 1, 7, 16, 17, 48, 100, 1000, 4096, 5000, 30000, 70000, 600000, 1 << 20, 1<<20 + 1, 2 << 20, 5 << 20}
		sizeOf := func() int {
			if rnd.IntN(10) > 0 {
				return sizes[rnd.IntN(11)]
			}
			return sizes[rnd.IntN(len(sizes))]
		}
		check := func(o obj) {
			got, ok := h.TryBytes(o.r)
			if !ok {
				t.Fatalf("live reference %#x is stale, len %d", o.r.word, len(o.b))
			}
			if addr(got) != addr(o.b) || len(got) < len(o.b) || !bytes.Equal(got[:len(o.b)], o.b) {
				t.Fatalf("wrong bytes")
			}
			for _, x := range o.b[:min(len(o.b), 10)] {
				if x != o.fill {
					t.Fatalf("wrong contents")
				}
			}
			if h.Ref(o.b) != o.r {
				t.Fatalf("Ref differs")
			}
		}
		fill := func(b []byte) byte {
			f := byte(rnd.Uint32())
			for i := range b {
				b[i] = f
			}
			return f
		}
		for step := range 3000 {
			switch x := rnd.IntN(100); {
			case x < 40 && len(live) < 150:
				n := sizeOf()
				var b []byte
				al := 1 << rnd.IntN(14)
				switch rnd.IntN(4) {
				case 0:
					b = h.Alloc(n, al)
				case 1:
					b = h.AllocDirty(n, al)
				case 2:
					b = locals[0].Alloc(n, al)
				case 3:
					b = locals[1].AllocDirty(n, al)
				}
				f := fill(b)
				live = append(live, obj{b, h.Ref(b), f})
			case x < 65 && len(live) > 0:
				i := rnd.IntN(len(live))
				o := live[i]
				check(o)
				switch rnd.IntN(3) {
				case 0:
					h.Free(o.b)
				case 1:
					locals[0].Free(o.b)
				case 2:
					h.Free(h.Bytes(o.r))
				}
				stale = append(stale, o.r)
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			case x < 85 && len(live) > 0:
				i := rnd.IntN(len(live))
				o := &live[i]
				check(*o)
				n := sizeOf()
				var out []byte
				if rnd.IntN(2) == 0 {
					out = h.Realloc(o.b, n)
				} else {
					out = h.ReallocAligned(o.b, n, 1<<rnd.IntN(14))
				}
				if len(out) != n {
					t.Fatalf("len")
				}
				for _, y := range out[:min(len(o.b), n, 10)] {
					if y != o.fill {
						t.Fatalf("realloc contents")
					}
				}
				if _, ok := h.TryBytes(o.r); ok != (addr(out) == addr(o.b)) {
					t.Fatalf("realloc %d→%d: stays %v, ref %v", len(o.b), n, addr(out) == addr(o.b), ok)
				}
				if addr(out) != addr(o.b) {
					stale = append(stale, o.r)
				}
				o.b = out
				o.fill = fill(out)
				o.r = h.Ref(out)
			case x == 85:
				h.Purge()
			case x == 86 && rnd.IntN(20) == 0:
				h.Reset()
				for _, o := range live {
					stale = append(stale, o.r)
				}
				live = live[:0]
				h.check()
			case x == 87 && rnd.IntN(20) == 0:
				locals[1].Close()
				locals[1] = h.Local()
			}
			if step%200 == 0 {
				for _, r := range stale {
					if _, ok := h.TryBytes(r); ok {
						t.Fatalf("stale %#x is good", r.word)
					}
				}
				for _, o := range live {
					check(o)
				}
				if len(stale) > 3000 {
					stale = stale[2000:]
				}
			}
		}
		h.Reset()
		h.Reset()
		h.check()
		s := h.Stats()
		if s.Live != 0 {
			t.Errorf("%+v", s)
		}
		for _, l := range locals {
			b := l.Alloc(100, 8)
			h.Ref(b)
			l.Free(b)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		h.check()
	})
}
