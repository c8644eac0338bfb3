package arena

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestMapQuick(t *testing.T) {
	a, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := NewMap[uint64, uint64](a, 0)
	sm := NewStringMap[uint64](a, 0)
	model := map[uint64]uint64{}
	for i := range 300000 {
		k := rand.Uint64N(100000)
		ks := fmt.Sprint("key", k)
		if rand.IntN(3) == 0 {
			_, ok := model[k]
			if m.Delete(k) != ok || sm.Delete(ks) != ok {
				t.Fatal("delete")
			}
			delete(model, k)
		} else {
			m.Put(k, uint64(i))
			sm.Put(ks, uint64(i))
			model[k] = uint64(i)
		}
		if m.Len() != len(model) {
			t.Fatal("len")
		}
		k = rand.Uint64N(100000)
		v, ok := m.Get(k)
		w, ok2 := model[k]
		v3, ok3 := sm.Get(fmt.Sprint("key", k))
		if v != w || ok != ok2 || v3 != w || ok3 != ok2 {
			t.Fatal("get", k, v, ok, w, ok2, v3, ok3)
		}
	}
	m.check()
	sm.check()
	n := 0
	for k, v := range m.All() {
		if model[k] != v {
			t.Fatal("all")
		}
		n++
	}
	for k, v := range sm.All() {
		var x uint64
		fmt.Sscanf(k, "key%d", &x)
		if model[x] != v {
			t.Fatal("all")
		}
		n++
	}
	if n != 2*len(model) {
		t.Fatal(n, len(model))
	}
}
