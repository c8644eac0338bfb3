package table

import (
	"bytes"
	"errors"
	"math"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Put sets the value of k. It panics with an error that wraps guard.ErrNoMemory if the table must grow and
// the arena is full.
func (c *Concurrent[K, V]) Put(k K, v V) {
	if err := c.TryPut(k, v); err != nil {
		panic(err)
	}
}

// TryPut is Put that returns its error. After an error the table has the entries that it had.
func (c *Concurrent[K, V]) TryPut(k K, v V) error {
	c.mustBeMade()
	_, err := c.put(c.hash(&k), k, v, true)
	return err
}

// Add inserts k with the value v if k is not there, and tells whether it did. It panics as Put does.
func (c *Concurrent[K, V]) Add(k K, v V) bool { return must(c.TryAdd(k, v)) }

// TryAdd is Add that returns its error. After an error the table has the entries that it had.
func (c *Concurrent[K, V]) TryAdd(k K, v V) (added bool, err error) {
	c.mustBeMade()
	hash := c.hash(&k)
	if _, there := c.find(hash, k); there {
		return false, nil // without the lock
	}
	return c.put(hash, k, v, false)
}

// put inserts k with the value v if k is not there, and tells whether it did. If k is there, it sets the value if replace says so.
func (c *Concurrent[K, V]) put(hash uint64, k K, v V, replace bool) (inserted bool, err error) {
	shard := c.shardOf(hash)
	lock, t := &c.locks[shard], &c.shards[shard]
	for refused := 0; ; refused++ {
		counter := lock.lock(c.supply)
		switch p, there := t.locate(hash, k); {
		case there && replace:
			*slotAt[K, V](p.g, p.slot) = slot[K, V]{k, v} // the key too: see Map
			lock.unlock(counter)
			return false, nil
		case there:
			lock.unlockUnchanged(counter)
			return false, nil
		}
		err := t.insertEntry(hash, k, v)
		lock.unlock(counter)
		if !c.makeRoom(shard, refused, err) {
			return err == nil, err
		}
	}
}

// insertEntry inserts an entry whose key is not there. Caller holds the shard's lock.
func (t *typed[K, V]) insertEntry(hash uint64, k K, v V) error {
	e, err := t.insert(hash)
	if err != nil {
		return err
	}
	*e = slot[K, V]{k, v}
	t.checkAfterChange()
	return nil
}

// Delete removes k, and tells whether k was there. It never fails.
func (c *Concurrent[K, V]) Delete(k K) bool {
	c.mustBeMade()
	hash := c.hash(&k)
	shard := c.shardOf(hash)
	lock, t := &c.locks[shard], &c.shards[shard]
	counter := lock.lock(c.supply)
	p, there := t.locate(hash, k)
	if !there {
		lock.unlockUnchanged(counter)
		return false
	}
	t.remove(hash, p)
	t.checkAfterChange()
	lock.unlock(counter)
	return true
}

// Update changes the entry of k by a function: f gets the value of k, zero if k is not there, and whether it is there, and returns the new
// value, and whether to keep the entry. If not, it is removed, or not inserted. Update returns the value that is there then, and whether
// one is.
//
// f runs without a lock, on a copy. If the value has changed when f returns, f is called again, with the new one: so f should
// do nothing that counts but return. If f panics, nothing has changed and nothing is locked. f may use the table. If it changes k
// itself, it is called again; a function that always does so never ends.
//
// A value that was changed and changed back meanwhile is the same value. Update panics as Put does.
func (c *Concurrent[K, V]) Update(k K, f func(old V, there bool) (value V, keep bool)) (v V, there bool) {
	v, there, err := c.TryUpdate(k, f)
	if err != nil {
		panic(err)
	}
	return v, there
}

// TryUpdate is Update that returns its error. After an error the table has the entries that it had, and v and there say
// what was there.
func (c *Concurrent[K, V]) TryUpdate(k K, f func(old V, there bool) (value V, keep bool)) (v V, there bool, err error) {
	c.mustBeMade()
	hash := c.hash(&k)
	shard := c.shardOf(hash)
	lock, t := &c.locks[shard], &c.shards[shard]
	refused := 0
	for tries := 0; ; tries++ {
		old, was := c.find(hash, k)
		value, keep := f(old, was)

		counter := lock.lock(c.supply)
		p, is := t.locate(hash, k)
		switch {
		case is != was || is && !c.same(&slotAt[K, V](p.g, p.slot).value, &old):
			lock.unlockUnchanged(counter)
			if tries > 10 {
				pause(min(tries, 40))
			}
			continue
		case !keep && !is, keep && is && c.hasher.kind == byBytes && c.same(&value, &old):
			lock.unlockUnchanged(counter)
			return old, is, nil
		case keep && is:
			*slotAt[K, V](p.g, p.slot) = slot[K, V]{k, value}
			lock.unlock(counter)
			return value, true, nil
		case is:
			t.remove(hash, p)
			t.checkAfterChange()
			lock.unlock(counter)
			return v, false, nil
		}
		err := t.insertEntry(hash, k, value)
		lock.unlock(counter)
		if !c.makeRoom(shard, refused, err) {
			if err != nil {
				return old, false, err
			}
			return value, true, nil
		}
		refused++
	}
}

// same tells whether two values have the same bytes, except for padding.
func (c *Concurrent[K, V]) same(v, w *V) bool {
	for _, p := range c.value {
		if !bytes.Equal(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(v), p.off)), p.size), unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(w), p.off)), p.size)) {
			return false
		}
	}
	return true
}

// Clear removes all entries that are there when it begins, shard by shard. The table keeps its memory, for entries to come. It never fails.
func (c *Concurrent[K, V]) Clear() {
	c.mustBeMade()
	for i := range c.shards {
		counter := c.locks[i].lock(c.supply)
		c.shards[i].clearAll()
		c.shards[i].checkAfterChange()
		c.locks[i].unlock(counter)
	}
}

// Shrink makes the table fit its entries, as Map.Shrink does, shard by shard. Other calls wait while their shard is being
// shrunk: a millisecond for some 100,000 entries.
func (c *Concurrent[K, V]) Shrink() {
	c.mustBeMade()
	for i := range c.shards {
		counter := c.locks[i].lock(c.supply)
		c.shards[i].shrinkAll()
		c.shards[i].checkAfterChange()
		c.locks[i].unlock(counter)
		region.Reclaim()
	}
}

// mostRefusals is how often an insertion is tried again after it was refused: what was freed for it, others may take.
const mostRefusals = 100

// makeRoom is called after an insertion in a shard, with its error. It calls Budget.OnSoft if that is due. If the insertion was refused because
// the arena or the budget is full, makeRoom looks for memory, and tells whether it pays to try again. Caller holds no lock.
func (c *Concurrent[K, V]) makeRoom(shard uint32, refused int, err error) (again bool) {
	reclaimed := region.Reclaim()
	if err == nil || !errors.Is(err, guard.ErrNoMemory) || refused >= mostRefusals {
		return false
	}
	return refused == 0 && reclaimed || c.moveBlock(shard, false) || c.moveBlock(shard, true)
}

// moveBlock gives a block of another shard to a shard, and tells whether the shard has got one. With hard, leaves of the other shard
// are left full. Caller holds no lock. moveBlock locks one shard at a time.
func (c *Concurrent[K, V]) moveBlock(to uint32, hard bool) bool {
	c.moving.Lock() // no block is on its way while somebody looks for one
	defer c.moving.Unlock()
	counter := c.locks[to].lock(c.supply)
	room := c.shards[to].hasRoom()
	c.locks[to].unlockUnchanged(counter)
	if room {
		return true // another goroutine moved a block here
	}
	for i := range uint32(len(c.locks) - 1) {
		from := (to + 1 + i) & uint32(len(c.locks)-1)
		counter := c.locks[from].lock(c.supply)
		block := c.shards[from].spare(hard)
		if block == 0 {
			c.locks[from].unlockUnchanged(counter)
			continue
		}
		c.locks[from].unlock(counter)
		renamed := c.fromTo(block, from, to)
		taker := to
		if renamed == 0 {
			taker, renamed = from, block
		}
		counter = c.locks[taker].lock(c.supply)
		c.shards[taker].adopt(renamed)
		c.locks[taker].unlock(counter)
		if taker == to {
			return true
		}
	}
	return false
}

// fromTo returns the name for one shard of a block that has a name for another one; 0 if it can have none. Blocks lie behind all roots.
func (c *Concurrent[K, V]) fromTo(block, from, to uint32) uint32 {
	name := int64(block) + (int64(from)-int64(to))*int64(rootStride/blockUnit)
	if name > math.MaxUint32 {
		return 0
	}
	return uint32(name)
}

// hasRoom tells whether the table can have one entry more with the blocks that it has.
func (u *untyped) hasRoom() bool { return u.root.count < u.root.assured() }

// spare takes a block from the table, which belongs to it no longer. It returns 0 if the table has none to spare.
func (t *typed[K, V]) spare(hard bool) (block uint32) {
	r := t.root
	if r.blocks <= 1 {
		return 0
	}
	r.blocks--
	enough := r.assured() >= r.count
	r.blocks++
	if !enough || t.freeBlocks() == 0 && !t.reclaim(math.MaxUint32, hard) {
		return 0
	}
	block = t.takeBlock()
	r.blocks--
	r.most = min(r.most, r.assured()) // the shards together keep what was promised
	r.schedule()
	t.checkAfterChange()
	return block
}

// adopt gives the table a block that another one has spared.
func (t *typed[K, V]) adopt(block uint32) {
	t.root.blocks++
	t.giveBlock(block)
	t.root.schedule()
	t.checkAfterChange()
}
