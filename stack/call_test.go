package stack

import (
	"errors"
	"runtime"
	"testing"
)

// code is machine code for both processors.
type code struct{ amd64, arm64 []byte }

func (c code) load(t testing.TB) Func {
	t.Helper()
	b := c.amd64
	if runtime.GOARCH == "arm64" {
		b = c.arm64
	}
	loaded, err := LoadCode(b)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	})
	return loaded.Func(0)
}

var (
	returns = code{[]byte{0xc3}, []byte{0xc0, 0x03, 0x5f, 0xd6}} // ret
	// call itself / stp x29, x30, [sp, #-16]!; bl itself
	forever = code{[]byte{0xe8, 0xfb, 0xff, 0xff, 0xff}, []byte{0xfd, 0x7b, 0xbf, 0xa9, 0xff, 0xff, 0xff, 0x97}}
)

func TestOverflowBasic(t *testing.T) {
	p := mustOpen(t, Config{})
	s := get(t, p)
	defer p.Put(s)
	f := returns.load(t)
	if r, err := s.Call(f, 1, 2); err != nil {
		t.Fatal(r, err)
	}
	g := forever.load(t)
	_, err := s.Call(g)
	t.Log(err)
	_, err = s.Call(0)
	t.Log(err)
}

func BenchmarkCall(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	f := returns.load(b)
	for b.Loop() {
		s.Call(f)
	}
}

func BenchmarkCall6(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	f := returns.load(b)
	for b.Loop() {
		s.Call(f, 1, 2, 3, 4, 5, 6)
	}
}

func BenchmarkOverflow(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	f := forever.load(b)
	for b.Loop() {
		s.Call(f)
	}
}

func BenchmarkGetPut(b *testing.B) {
	p := mustOpen(b, Config{})
	for b.Loop() {
		s, _ := p.Get()
		p.Put(s)
	}
}

func BenchmarkGetPutParallel(b *testing.B) {
	p := mustOpen(b, Config{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, _ := p.Get()
			p.Put(s)
		}
	})
}

func BenchmarkPushPop(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	for b.Loop() {
		f := s.Push()
		s.Pop(f)
	}
}

func BenchmarkPushNewPop(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	for b.Loop() {
		f := s.Push()
		x := New[[4]uint64](s)
		x[1] = 1
		s.Pop(f)
	}
}

func BenchmarkNew32(b *testing.B) {
	p := mustOpen(b, Config{})
	s := get(b, p)
	defer p.Put(s)
	f := s.Push()
	i := 0
	for b.Loop() {
		if i++; i == 1000 {
			i = 0
			s.Pop(f)
			f = s.Push()
		}
		x := New[[4]uint64](s)
		x[1] = 1
	}
	s.Pop(f)
}
