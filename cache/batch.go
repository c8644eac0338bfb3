package cache

// batch collects entries of a snapshot, and sets those of a shard one behind the other: then the shard's index is in the processor's caches, and
// its lock is taken for some entries at once.
type batch struct {
	bytes  []byte // keys and values. It never grows, because items point into it
	items  []item
	sorted []item // by shard
	ends   []int  // of the shards' items in sorted
}

const (
	batchBytes = 4 << 20
	lockedSets = 32 // entries that are set without another look at the lock
)

// add adds an entry to the batch; false if it has no room. deadline is in ns since Open.
func (b *batch) add(c *Cache, key, value []byte, deadline int64) bool {
	if b.bytes == nil {
		b.bytes, b.ends = make([]byte, 0, batchBytes), make([]int, len(c.shards)+1)
	}
	n := len(b.bytes)
	if n+len(key)+len(value) > cap(b.bytes) {
		return false
	}
	b.bytes = append(append(b.bytes, key...), value...)
	key, value = b.bytes[n:n+len(key)], b.bytes[n+len(key):]
	b.items = append(b.items, item{hash: c.hash(key), key: key, value: value, deadline: deadline})
	return true
}

// set sets the entries of the batch, which is empty then.
func (b *batch) set(c *Cache) error {
	if len(b.items) == 0 {
		return nil
	}
	if cap(b.sorted) < len(b.items) {
		b.sorted = make([]item, cap(b.items))
	}
	b.sorted = b.sorted[:len(b.items)]
	clear(b.ends)
	for i := range b.items {
		b.ends[b.items[i].hash&c.mask+1]++
	}
	for i := range c.shards {
		b.ends[i+1] += b.ends[i]
	}
	for i := range b.items { // ends has where each shard's items begin, and then where they end
		at := &b.ends[b.items[i].hash&c.mask]
		b.sorted[*at] = b.items[i]
		*at++
	}
	begin := 0
	for i := range c.shards {
		if err := c.putAll(&c.shards[i], b.sorted[begin:b.ends[i]]); err != nil {
			return err
		}
		begin = b.ends[i]
	}
	b.bytes, b.items = b.bytes[:0], b.items[:0]
	return nil
}

// putAll is put for several items of a shard, none of which is apart.
func (c *Cache) putAll(s *shard, items []item) error {
	for len(items) > 0 {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return c.errClosed("set")
		}
		n, what := 0, nothing
		for n < min(len(items), lockedSets) {
			if what = s.set(&items[n]); what != nothing {
				break
			}
			n++
		}
		s.unlock()
		items = items[n:]
		if what != nothing {
			if err := c.provideFor(s, what); err != nil {
				return err
			}
		}
	}
	return nil
}
