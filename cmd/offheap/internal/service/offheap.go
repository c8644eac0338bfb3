package service

import (
	"errors"
	"hash/maphash"
	"sync"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/table"
)

// offHeap keeps entries off the Go heap.
type offHeap struct {
	seed   maphash.Seed
	heap   *slab.Heap
	shards [64]struct {
		sync.RWMutex
		arena   *arena.Arena
		entries *table.Strings[offValue]
		_       [64]byte
	}
}

type offValue struct {
	ref  slab.Ref
	size uint32
}

func newOffHeap(entries int, limit int64) (*offHeap, error) {
	h, err := slab.Open(slab.Config{})
	if err != nil {
		return nil, err
	}
	s := &offHeap{seed: maphash.MakeSeed(), heap: h}
	for i := range s.shards {
		shard := &s.shards[i]
		if shard.arena, err = arena.Open(arena.Config{}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if shard.entries, err = table.TryNewStrings[offValue](shard.arena, 0); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *offHeap) Set(key, value []byte) error {
	b, err := s.heap.TryAllocDirty(len(value), 1)
	if err != nil {
		return err
	}
	copy(b, value)
	now := offValue{s.heap.Ref(b), uint32(len(value))}
	shard := &s.shards[maphash.Bytes(s.seed, key)%uint64(len(s.shards))]
	shard.Lock()
	defer shard.Unlock()
	v, inserted, err := shard.entries.TryEntryBytes(key)
	if err != nil {
		s.heap.Free(b)
		return err
	}
	if !inserted {
		s.heap.Free(s.heap.Bytes(v.ref))
	}
	*v = now
	return nil
}

func (s *offHeap) Get(dst, key []byte) ([]byte, bool) {
	shard := &s.shards[maphash.Bytes(s.seed, key)%uint64(len(s.shards))]
	shard.RLock()
	defer shard.RUnlock()
	v, ok := shard.entries.GetBytes(key)
	if !ok {
		return dst, false
	}
	return append(dst, s.heap.Bytes(v.ref)[:v.size]...), true
}

func (s *offHeap) Close() error {
	err := s.heap.Close()
	for i := range s.shards {
		if a := s.shards[i].arena; a != nil {
			err = errors.Join(err, a.Close())
		}
	}
	return err
}
