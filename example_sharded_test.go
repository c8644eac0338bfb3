package offheap_test

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/slab"
	"github.com/seed-9a6c551e/offheap/table"
)

// user has no Go pointer, so it may live off-heap. Its name lies in a heap, and is named by a reference.
type user struct {
	visits     uint64
	name       slab.Ref
	nameLength uint32
}

// users is a service for any number of goroutines. Each shard is a table with a lock of its own.
type users struct {
	seed   maphash.Seed
	names  *slab.Heap // for any number of goroutines
	shards [64]struct {
		sync.Mutex
		arena *arena.Arena
		table *table.Map[uint64, user]
	}
}

func openUsers() (*users, error) {
	names, err := slab.Open(slab.Config{Name: "names"})
	if err != nil {
		return nil, err
	}
	u := &users{seed: maphash.MakeSeed(), names: names}
	for i := range u.shards {
		s := &u.shards[i]
		if s.arena, err = arena.Open(arena.Config{Name: "users", Reserve: 1 << 30}); err != nil {
			return nil, errors.Join(err, u.Close())
		}
		s.table = table.NewMap[uint64, user](s.arena, 0)
	}
	return u, nil
}

// Visit counts a visit, and stores the name with the first one.
func (u *users) Visit(id uint64, name string) (visits uint64) {
	s := &u.shards[maphash.Comparable(u.seed, id)%uint64(len(u.shards))]
	s.Lock()
	defer s.Unlock()
	entry, inserted := s.table.Entry(id)
	if inserted {
		b := u.names.AllocDirty(len(name), 1)
		copy(b, name)
		entry.name, entry.nameLength = u.names.Ref(b), uint32(len(name))
	}
	entry.visits++
	return entry.visits
}

// Name returns a copy of a user's name; "" if there is no such user.
func (u *users) Name(id uint64) string {
	s := &u.shards[maphash.Comparable(u.seed, id)%uint64(len(u.shards))]
	s.Lock()
	defer s.Unlock()
	if entry, ok := s.table.Get(id); ok {
		return string(u.names.Bytes(entry.name)[:entry.nameLength])
	}
	return ""
}

// Close frees all memory.
func (u *users) Close() error {
	err := u.names.Close()
	for i := range u.shards {
		if a := u.shards[i].arena; a != nil {
			err = errors.Join(err, a.Close())
		}
	}
	return err
}

// A service of your own in 60 lines: tables in shards, and references to bytes of any length. For bytes by bytes,
// package cache is that service.
func Example_shardedService() {
	u, err := openUsers()
	if err != nil {
		panic(err)
	}
	defer u.Close()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { u.Visit(7, "Ada") })
	}
	all.Wait()
	fmt.Println(u.Name(7), u.Visit(7, ""))
	// Output: Ada 11
}
