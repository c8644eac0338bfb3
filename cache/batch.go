package cache

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// batch collects entries of a snapshot, and sets the entries of a shard one behind the other: then the shard's index is in the processor's caches, and
// its lock is taken for some entries at once. Other goroutines help:
//
//	caller    add … add, prepare ──▶ share ──▶ add … add to the other batch ──▶ finish
//	helpers                           └──▶ set the entries of one shard after the other
//
// A helper runs no code of the user and no call of the heap: where a shard lacks memory, or has something to give back, it leaves the shard's
// other entries to the caller. So a panic of OnEvict or Budget.OnSoft meets the goroutine that has called ReadFrom.
type batch struct {
	cache   *Cache
	bytes   []byte // keys and values
	records []record
	order   []uint32 // the numbers of the records, by shard
	shards  []shardBatch
	next    atomic.Int32 // the shard whose entries are to be set next
	helpers sync.WaitGroup
}

// record is an entry of a batch.
type record struct {
	hash       uint64
	deadline   int64  // ns since Open; 0 for none
	at         uint32 // where the key begins in bytes; the value is behind it
	key, value uint32 // bytes
}

// shardBatch says which records of a shard are to be set: a part of order.
type shardBatch struct {
	begin, end int
	granules   int // that the entries take in the log
}

const (
	batchBytes  = 1 << 20 // so that it stays in the cache of a processor until its entries are set, in another order
	lockedSets  = 32      // entries that are set without another look at the lock
	mostHelpers = 2       // with more the caller has no batch for them in time
)

// add adds an entry to the batch; false if it has no room. deadline is in ns since Open.
func (b *batch) add(key, value []byte, deadline int64) bool {
	n := len(b.bytes)
	if n+len(key)+len(value) > batchBytes {
		return false
	}
	if b.bytes == nil {
		b.bytes, b.shards = make([]byte, 0, batchBytes), make([]shardBatch, len(b.cache.shards))
	}
	b.bytes = append(append(b.bytes, key...), value...)
	b.records = append(b.records, record{
		hash: b.cache.hash(key), deadline: deadline, at: uint32(n), key: uint32(len(key)), value: uint32(len(value)),
	})
	return true
}

// item returns the entry of a record.
func (b *batch) item(r *record) item {
	all := b.bytes[r.at : r.at+r.key+r.value]
	return item{hash: r.hash, key: all[:r.key], value: all[r.key:], deadline: r.deadline}
}

// sort sorts the records by shard.
func (b *batch) sort() {
	clear(b.shards)
	for i := range b.records {
		r := &b.records[i]
		p := &b.shards[r.hash&b.cache.mask]
		p.end++
		p.granules += sizeOf(int(r.key), int(r.value), r.deadline != 0)
	}
	begin := 0
	for i := range b.shards {
		p := &b.shards[i]
		p.begin, begin, p.end = begin, begin+p.end, begin
	}
	if cap(b.order) < len(b.records) {
		b.order = make([]uint32, cap(b.records))
	}
	b.order = b.order[:len(b.records)]
	for i := range b.records {
		p := &b.shards[b.records[i].hash&b.cache.mask]
		b.order[p.end] = uint32(i)
		p.end++
	}
}

// share has helpers set the entries of the batch, as far as they can. The caller calls finish.
func (b *batch) share() {
	b.sort()
	b.next.Store(0)
	helpers := min(runtime.GOMAXPROCS(0)-1, mostHelpers)
	if helpers > 0 {
		b.stock()
	}
	for range helpers {
		b.helpers.Go(func() {
			for i, ok := b.take(); ok; i, ok = b.take() {
				b.help(&b.cache.shards[i], &b.shards[i])
			}
		})
	}
}

// stock gets segments for the entries of shards that were empty, as long as that evicts nothing.
func (b *batch) stock() {
	for i := range b.shards {
		s := &b.cache.shards[i]
		for s.lacksRoom(b.shards[i].granules) {
			at, err := b.cache.alloc(b.cache.segmentSize)
			if err != nil {
				return // provide has the error that counts
			}
			s.give(needsSegment, at)
		}
	}
}

// lacksRoom tells whether a shard that is being filled has less room for new entries than some granules.
func (s *shard) lacksRoom(granules int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.full || !s.index.Expects() {
		return false
	}
	t := &s.cache.segments
	room := s.spares.n << t.shift
	if head := s.queues[s.queueFor()].head; head != 0 {
		room += 1<<t.shift - int(t.at(head-1).used)
	}
	return room < granules
}

// take takes the next shard whose entries are to be set; ok is false after the last one.
func (b *batch) take() (shard int, ok bool) {
	shard = int(b.next.Add(1)) - 1
	return shard, shard < len(b.shards)
}

// help sets entries of a shard until something is missing or due that only the caller may do.
func (b *batch) help(s *shard, part *shardBatch) {
	for what := nothing; part.begin < part.end && what == nothing; {
		s.mu.Lock()
		if s.closed || s.hasChores() {
			s.mu.Unlock()
			return
		}
		what = b.setSome(s, part)
		s.checked()
		s.mu.Unlock()
	}
}

// setSome sets some entries of a shard, or returns what the next one lacks. Caller holds s.mu.
func (b *batch) setSome(s *shard, part *shardBatch) need {
	some := b.order[part.begin:min(part.begin+lockedSets, part.end)]
	for _, i := range some {
		s.ahead += uint64(s.index.Touch(b.records[i].hash))
	}
	for _, i := range some {
		it := b.item(&b.records[i])
		if what := s.set(&it); what != nothing {
			return what
		}
		part.begin++
	}
	return nothing
}

// finish sets the entries that helpers have not, and waits for those that they set. The batch is empty then.
func (b *batch) finish() (err error) {
	for i, ok := b.take(); ok && err == nil; i, ok = b.take() {
		err = b.set(&b.cache.shards[i], &b.shards[i])
	}
	b.stop()
	for i := 0; i < len(b.shards) && err == nil; i++ {
		err = b.set(&b.cache.shards[i], &b.shards[i])
	}
	b.bytes, b.records = b.bytes[:0], b.records[:0]
	return err
}

// stop waits until no helper sets entries of the batch any more: each ends with the shard that it is at.
func (b *batch) stop() {
	b.next.Store(int32(len(b.shards)))
	b.helpers.Wait()
}

// set sets the entries of a shard.
func (b *batch) set(s *shard, part *shardBatch) error {
	for part.begin < part.end {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return s.cache.errClosed("read")
		}
		what := b.setSome(s, part)
		s.unlock()
		if what != nothing {
			if err := s.cache.provideFor(s, what, "read"); err != nil {
				return err
			}
		}
	}
	return nil
}
