package cache

import "unsafe"

// granule is the unit of places and of the sizes of entries, in bytes.
const granule = 16

// place says where an entry lies: in granules from the heap's base on. 0 is no place.
type place = uint32

// entry is an entry in the log:
//
//	 0        8             16
//	┌────────┬─────────────┬─────┬───────┬─────┐
//	│ header │ deadline    │ key │ value │ pad │   the deadline only with a TTL
//	├────────┼─────────────┼─────┴──┬────┴─────┘
//	│ header │ deadline    │ number │               the key and the value apart: see apart.go
//	└────────┴─────────────┴────────┘
//
// The header is a word:
//
//	63    56    52     51    50   49        34 33        17 16       0
//	┌──────┬─┬───────┬─────┬──────┬────────────┬───────────┬──────────┐
//	│ hits │ │ apart │ TTL │ dead │  granules  │ value len │ key len  │
//	└──────┴─┴───────┴─────┴──────┴────────────┴───────────┴──────────┘
//
// Its writer holds the shard's lock.
type entry struct{ p unsafe.Pointer }

const (
	keyBits      = 17 // lengths to 64 KiB, included
	valueBits    = 17
	granuleBits  = 13
	valueShift   = keyBits
	granuleShift = valueShift + valueBits
	deadBit      = 1 << 50
	ttlBit       = 1 << 51
	apartBit     = 1 << 52
	hitsShift    = 56
	hitsMask     = 0xff << hitsShift // for the policy

	headerSize   = 8
	deadlineSize = 8
	numberSize   = 8 // of an entry whose key and value lie apart
)

// header returns the header of an entry in the log that nobody has hit.
func header(key, value, granules int, flags uint64) uint64 {
	return uint64(key) | uint64(value)<<valueShift | uint64(granules)<<granuleShift | flags
}

func (e entry) head() *uint64 { return (*uint64)(e.p) }
func (e entry) granules() int { return int(*e.head() >> granuleShift & (1<<granuleBits - 1)) }
func (e entry) isDead() bool  { return *e.head()&deadBit != 0 }
func (e entry) isApart() bool { return *e.head()&apartBit != 0 }
func (e entry) hasTTL() bool  { return *e.head()&ttlBit != 0 }

// keepHits gives the entry what the policy keeps in another header.
func (e entry) keepHits(was uint64) { *e.head() = *e.head()&^hitsMask | was&hitsMask }

func (e entry) deadline() int64 { return *(*int64)(unsafe.Add(e.p, headerSize)) }

// setDeadline writes the point in time at which the entry expires, in ns since Open. The entry has a TTL.
func (e entry) setDeadline(at int64) { *(*int64)(unsafe.Add(e.p, headerSize)) = at }

// body returns where the key, or the number, begins.
func (e entry) body() unsafe.Pointer {
	return unsafe.Add(e.p, headerSize+*e.head()&ttlBit/ttlBit*deadlineSize)
}

// number returns the number of an entry whose key and value lie apart.
func (e entry) number() uint32 { return *(*uint32)(e.body()) }

func (e entry) setNumber(n uint32) { *(*uint32)(e.body()) = n }

// key returns the key of an entry that lies in the log.
func (e entry) key() []byte {
	return unsafe.Slice((*byte)(e.body()), *e.head()&(1<<keyBits-1))
}

// value returns the value of an entry that lies in the log.
func (e entry) value() []byte {
	h := *e.head()
	return unsafe.Slice((*byte)(unsafe.Add(e.body(), h&(1<<keyBits-1))), h>>valueShift&(1<<valueBits-1))
}

// sizeOf returns the granules that an entry takes in the log.
func sizeOf(key, value int, ttl bool) int {
	n := headerSize + key + value
	if ttl {
		n += deadlineSize
	}
	return (n + granule - 1) / granule
}
