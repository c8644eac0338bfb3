// Program callers calls each fast path once, in a function of its own that is named after it. The
// test builds it and reads its machine code; nothing runs it.
package main

import (
	"context"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/ring"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/table"
)

type pair struct{ a, b uint64 }

//go:noinline
func arenaNew(a *arena.Arena) *pair { return arena.New[pair](a) }

//go:noinline
func arenaRefOf(a *arena.Arena, p *pair) arena.Ref[pair] { return arena.RefOf(a, p) }

//go:noinline
func arenaRefDeref(a *arena.Arena, r arena.Ref[pair]) *pair { return r.Deref(a) }

//go:noinline
func arenaNewIn(c *arena.Concurrent) *pair { return arena.NewIn[pair](c) }

//go:noinline
func arenaConcurrentAlloc(c *arena.Concurrent, size int) []byte { return c.Alloc(size, 8) }

//go:noinline
func arenaPoolGet(p *arena.Pool) *arena.Arena { return p.Get() }

//go:noinline
func arenaPoolPut(p *arena.Pool, a *arena.Arena) { p.Put(a) }

//go:noinline
func ringProducerClaim(ctx context.Context, p *ring.Producer, n int) ([]byte, error) {
	return p.Claim(ctx, n)
}

//go:noinline
func ringProducerPublish(p *ring.Producer, n int) { p.Publish(n) }

//go:noinline
func ringConsumerPeek(ctx context.Context, c *ring.Consumer) ([]byte, error) { return c.Peek(ctx) }

//go:noinline
func ringConsumerRelease(c *ring.Consumer) { c.Release() }

//go:noinline
func tableMapGet(m *table.Map[uint64, uint64], k uint64) (uint64, bool) { return m.Get(k) }

//go:noinline
func tableMapLookup(m *table.Map[uint64, uint64], k uint64) *uint64 { return m.Lookup(k) }

//go:noinline
func tableStringsGet(m *table.Strings[uint64], k string) (uint64, bool) { return m.Get(k) }

//go:noinline
func tableStringsLookupBytes(m *table.Strings[uint64], k []byte) *uint64 { return m.LookupBytes(k) }

//go:noinline
func slabHeapAllocDirty(h *slab.Heap, size int) []byte { return h.AllocDirty(size, 8) }

//go:noinline
func slabHeapAlloc(h *slab.Heap, size int) []byte { return h.Alloc(size, 8) }

//go:noinline
func slabHeapFree(h *slab.Heap, b []byte) { h.Free(b) }

//go:noinline
func slabLocalAllocDirty(l *slab.Local, size int) []byte { return l.AllocDirty(size, 8) }

//go:noinline
func slabLocalAlloc(l *slab.Local, size int) []byte { return l.Alloc(size, 8) }

//go:noinline
func slabLocalFree(l *slab.Local, b []byte) { l.Free(b) }

//go:noinline
func slabNew(h *slab.Heap) *pair { return slab.New[pair](h) }

//go:noinline
func slabPoolGet(p *slab.Pool[pair]) *pair { return p.Get() }

//go:noinline
func slabPoolPut(p *slab.Pool[pair], x *pair) { p.Put(x) }

//go:noinline
func slabHandleDeref(p *slab.Pool[pair], x slab.Handle[pair]) (*pair, bool) { return x.Deref(p) }

//go:noinline
func slabHandleOf(p *slab.Pool[pair], x *pair) slab.Handle[pair] { return slab.HandleOf(p, x) }

//go:noinline
func stackNew(s *stack.Stack) *pair { return stack.New[pair](s) }

//go:noinline
func stackStackPush(s *stack.Stack) stack.Frame { return s.Push() }

//go:noinline
func stackStackPop(s *stack.Stack, f stack.Frame) { s.Pop(f) }

//go:noinline
func stackPoolGet(p *stack.Pool) *stack.Stack { return p.Get() }

//go:noinline
func stackPoolPut(p *stack.Pool, s *stack.Stack) { p.Put(s) }

func main() {
	a, _ := arena.Open(arena.Config{})
	arenaNew(a)
	arenaRefDeref(a, arenaRefOf(a, nil))
	c, _ := arena.OpenConcurrent(arena.Config{})
	arenaNewIn(c)
	arenaConcurrentAlloc(c, 1)
	arenas, _ := arena.OpenPool(arena.Config{})
	a = arenaPoolGet(arenas)
	arenaPoolPut(arenas, a)
	m := table.NewMap[uint64, uint64](a, 0)
	tableMapGet(m, 1)
	tableMapLookup(m, 1)
	t := table.NewStrings[uint64](a, 0)
	tableStringsGet(t, "")
	tableStringsLookupBytes(t, nil)

	h, _ := slab.Open(slab.Config{})
	slabHeapFree(h, slabHeapAllocDirty(h, 1))
	slabHeapFree(h, slabHeapAlloc(h, 1))
	slab.Free(h, slabNew(h))
	l := h.Local()
	slabLocalFree(l, slabLocalAllocDirty(l, 1))
	slabLocalFree(l, slabLocalAlloc(l, 1))
	p, _ := slab.OpenPool[pair](slab.Config{})
	x := slabPoolGet(p)
	slabHandleDeref(p, slabHandleOf(p, x))
	slabPoolPut(p, x)

	stacks, _ := stack.OpenPool(stack.Config{})
	s := stackPoolGet(stacks)
	f := stackStackPush(s)
	stackNew(s)
	stackStackPop(s, f)
	stackPoolPut(stacks, s)
	r, _ := ring.Create(ring.Config{})
	producer, _ := r.Producer()
	ringProducerClaim(context.Background(), producer, 1)
	ringProducerPublish(producer, 1)
	consumer, _ := r.Consumer()
	ringConsumerPeek(context.Background(), consumer)
	ringConsumerRelease(consumer)
}
