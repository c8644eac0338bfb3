package stack

import (
	"errors"
	"testing"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// FuzzStack reads its input as operations of three bytes each. It applies them to the stacks of a pool and to
// a model, which has copies of all allocated memory, by frame.
func FuzzStack(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 2, 100, 0, 3, 0, 0, 4, 0, 0})
	f.Add([]byte{1, 0, 0, 2, 255, 255, 2, 255, 31, 1, 0, 0, 2, 9, 3, 3, 0, 0, 3, 0, 0, 5, 0, 0, 6, 0, 0, 2, 255, 100})
	f.Add([]byte{1, 0, 0, 7, 16, 0, 1, 0, 0, 2, 0, 200, 8, 0, 0, 2, 50, 0, 3, 0, 0, 2, 0, 120, 9, 1, 0, 5, 1, 0, 6, 0, 0, 5, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 3000 {
			return
		}
		before := guard.Usage()
		p, err := OpenPool(Config{Size: 64 << 10, Max: 40, Retain: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		m := model{t: t, p: p}
		for step := input; len(step) >= 3; step = step[3:] {
			m.do(step[0], step[1], step[2])
		}
		m.verify()
		for len(m.stacks) > 0 {
			m.put(0)
		}
		p.checkInvariants(nil)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := guard.Usage(); got.Regions != before.Regions || got.Committed != before.Committed {
			t.Fatalf("something is left behind: before %+v, after %+v", before, got)
		}
	})
}

type model struct {
	t      *testing.T
	p      *Pool
	stacks []*modelStack
	fill   byte
	stale  []Frame
}

type modelStack struct {
	s       *Stack
	frames  []Frame
	objects []object
	deepest int
}

type object struct {
	b     []byte
	fill  byte
	frame int // number of frames that were open
}

func (m *model) do(op, lo, hi byte) {
	if len(m.stacks) == 0 || op%10 == 0 {
		s, err := m.p.TryGet()
		if err != nil {
			if len(m.stacks) < 40 || !errors.Is(err, guard.ErrNoMemory) {
				m.t.Fatal(err)
			}
			return
		}
		for _, x := range m.stacks {
			if x.s == s {
				m.t.Fatal("a stack was handed out twice")
			}
		}
		m.stacks = append(m.stacks, &modelStack{s: s})
		return
	}
	x := m.stacks[int(hi)%len(m.stacks)]
	n := int(lo) | int(hi)<<8
	switch op % 10 {
	case 1:
		x.frames = append(x.frames, x.s.Push())
	case 2:
		m.alloc(x, n, 1)
	case 7:
		m.alloc(x, int(lo), 1<<(hi%13))
	case 3, 4:
		if k := len(x.frames); k > 0 {
			x.s.Pop(x.frames[k-1])
			m.stale = append(m.stale, x.frames[k-1])
			x.frames = x.frames[:k-1]
			for len(x.objects) > 0 && x.objects[len(x.objects)-1].frame >= k {
				x.objects = x.objects[:len(x.objects)-1]
			}
		}
	case 5:
		m.put(int(lo) % len(m.stacks))
	case 6:
		if err := m.p.Purge(); err != nil {
			m.t.Fatal(err)
		}
	case 8: // Pop of a frame that is not the innermost
		if len(m.stale) > 0 {
			m.refused(x, m.stale[int(lo)%len(m.stale)])
		}
		if len(x.frames) > 1 {
			m.refused(x, x.frames[0])
		}
	case 9:
		m.verify()
	}
}

func (m *model) refused(x *modelStack, f Frame) {
	used := x.s.Used()
	var v *guard.Violation
	if err := stacktest.PanicOf(func() { x.s.Pop(f) }); !errors.As(err, &v) || x.s.Used() != used {
		m.t.Fatalf("a frame that is not the innermost open one: %v", err)
	}
}

func (m *model) alloc(x *modelStack, n, align int) {
	before := x.s.Used()
	b, err := x.s.TryAlloc(n, align)
	if err != nil {
		if !errors.Is(err, ErrOverflow) || before+n+align+granule <= x.s.Size() || x.s.Used() != before {
			m.t.Fatalf("%d bytes aligned to %d with %d of %d in use: %v", n, align, before, x.s.Size(), err)
		}
		return
	}
	for i, c := range b {
		if c != 0 {
			m.t.Fatalf("byte %d of %d is %d", i, n, c)
		}
	}
	m.fill++
	for i := range b {
		b[i] = m.fill | 1
	}
	x.objects = append(x.objects, object{b, m.fill | 1, len(x.frames)})
	x.deepest = max(x.deepest, x.s.Used())
	if x.s.HighWater() < x.deepest {
		m.t.Fatalf("high water %d, but %d were used", x.s.HighWater(), x.deepest)
	}
}

func (m *model) put(i int) {
	x := m.stacks[i]
	m.intact(x)
	m.p.Put(x.s)
	m.stale = append(m.stale, x.frames...)
	m.stacks = append(m.stacks[:i], m.stacks[i+1:]...)
}

func (m *model) intact(x *modelStack) {
	for _, o := range x.objects {
		for i, c := range o.b {
			if c != o.fill {
				m.t.Fatalf("byte %d of %d was changed", i, len(o.b))
			}
		}
	}
}

func (m *model) verify() {
	taken := map[*Stack]bool{}
	for _, x := range m.stacks {
		m.intact(x)
		taken[x.s] = true
	}
	m.p.checkInvariants(taken)
}
