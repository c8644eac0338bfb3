package guarded

import "testing"

// TestMostLive takes more objects than may be live, and one again when one was freed.
func TestMostLive(t *testing.T) {
	defer func(old int) { mostLive = old }(mostLive)
	mostLive = 10
	const owner = 1
	defer Close(owner)
	for i := range mostLive + 3 {
		if _, ok := Alloc(owner, "test", 100, 16); ok != (i < mostLive) {
			t.Errorf("object %d is made: %v, want %v", i, ok, i < mostLive)
		}
	}
	for p := range Objects(owner) {
		if _, _, ok := Free(owner, p); !ok {
			t.Fatalf("%p is not freed", p)
		}
		break
	}
	for i, want := range []bool{true, false} {
		if _, ok := Alloc(owner, "test", 100, 16); ok != want {
			t.Errorf("after one was freed, object %d is made: %v, want %v", i, ok, want)
		}
	}
	if n, bytes, _ := Live(owner); n != mostLive || bytes != n*100 {
		t.Errorf("%d objects of %d bytes are live, want %d of 100 each", n, bytes, mostLive)
	}
}
