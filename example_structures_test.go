package offheap_test

import (
	"errors"
	"fmt"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/cache"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/table"
)

type (
	order   struct{ Count int }
	node    struct{ Next arena.Ref[node] }
	session struct{ User uint64 }
)

// The code of the table in the package comment, which structure for which job.
func Example_structures() {
	c, err := cache.Open(cache.Config{Limit: 1 << 30})
	err = errors.Join(err, c.Set([]byte("key"), []byte("value")))
	value, ok := c.Get(nil, []byte("key"))
	fmt.Println(string(value), ok, err)

	a, err := arena.Open(arena.Config{})
	m := table.NewMap[uint64, order](a, 0)
	m.Put(7, order{1})
	o, ok := m.Get(7)
	fmt.Println(o, ok, err)

	many := table.NewConcurrent[uint64, order](a, 0)
	o, _ = many.Update(7, func(o order, ok bool) (order, bool) { o.Count++; return o, true })
	fmt.Println(o)

	requests, err := arena.OpenPool(arena.Config{})
	request := requests.Get()
	n := arena.New[node](request)
	fmt.Println(n.Next.IsNil(), err)
	requests.Put(request)

	h, err := slab.Open(slab.Config{})
	b := h.Alloc(100, 1)
	ref := h.Ref(b)
	b = h.Bytes(ref)
	fmt.Println(len(b) >= 100, err)
	h.Free(b)

	p, err := slab.OpenPool[session](slab.Config{})
	s := p.Get()
	name := slab.HandleOf(p, s)
	s, ok = name.Deref(p)
	fmt.Println(*s, ok, err)
	p.Put(s)

	fmt.Println(errors.Join(c.Close(), a.Close(), requests.Close(), h.Close(), p.Close()))
	// Output:
	// value true <nil>
	// {1} true <nil>
	// {1}
	// true <nil>
	// true <nil>
	// {0} true <nil>
	// <nil>
}
