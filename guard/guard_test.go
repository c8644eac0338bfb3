package guard

import (
	"errors"
	"testing"
	"unsafe"
)

func mustReserve(t testing.TB, c Config) *Region {
	t.Helper()
	r, err := Reserve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

var sink byte

// touch reads the byte at off and returns the fault, if any.
func touch(r *Region, off int) *Fault {
	var fault *Fault
	errors.As(Catch(func() { sink = *(*byte)(unsafe.Add(r.Base(), off)) }), &fault)
	return fault
}

// poke writes the byte at off and returns the fault, if any.
func poke(r *Region, off int) *Fault {
	var fault *Fault
	errors.As(Catch(func() { *(*byte)(unsafe.Add(r.Base(), off)) = 1 }), &fault)
	return fault
}

func expect(t *testing.T, what string, f *Fault, kind Kind, off int) {
	t.Helper()
	if f == nil || f.Kind != kind || f.Offset != off {
		t.Fatalf("%s: got %v, want %v at offset %d", what, f, kind, off)
	}
}
