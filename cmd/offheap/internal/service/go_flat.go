package service

import (
	"fmt"
	"hash/maphash"
	"sync"
)

// goFlat keeps entries on the Go heap without a pointer: the collector has nothing to follow. Keys and values are
// padded to the largest. Values stand beside the map, because a map keeps values above 128 bytes by pointer.
type goFlat struct {
	seed   maphash.Seed
	shards [shards]flatShard
}

type flatShard struct {
	sync.RWMutex
	places map[flatKey]uint32 // numbers in blocks
	blocks [][]flatValue
	_      [64]byte // a cache line between two locks
}

// flatBlock is how many values a block has. An append to one long slice would copy all values.
const flatBlock = 128

type (
	flatKey   [maxKey + 1]byte // the last byte is the length
	flatValue struct {
		size uint16
		text [maxValue]byte
	}
)

func newGoFlat(entries int) *goFlat {
	s := &goFlat{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].places = make(map[flatKey]uint32, entries/shards)
	}
	return s
}

// value returns a place. The caller holds the lock.
func (s *flatShard) value(place uint32) *flatValue {
	return &s.blocks[place/flatBlock][place%flatBlock]
}

func pad(key []byte) (k flatKey) {
	k[maxKey] = byte(copy(k[:maxKey], key))
	return k
}

func (s *goFlat) Set(key, value []byte) error {
	if len(key) > maxKey || len(value) > maxValue {
		return fmt.Errorf("a key of %d or a value of %d bytes is too long", len(key), len(value))
	}
	k := pad(key)
	shard := &s.shards[maphash.Bytes(s.seed, key)%shards]
	shard.Lock()
	defer shard.Unlock()
	place, found := shard.places[k]
	if !found {
		place = uint32(len(shard.places))
		if place%flatBlock == 0 {
			shard.blocks = append(shard.blocks, make([]flatValue, flatBlock))
		}
		shard.places[k] = place
	}
	v := shard.value(place)
	v.size = uint16(copy(v.text[:], value))
	return nil
}

func (s *goFlat) Get(dst, key []byte) ([]byte, bool) {
	k := pad(key)
	shard := &s.shards[maphash.Bytes(s.seed, key)%shards]
	shard.RLock()
	defer shard.RUnlock()
	place, found := shard.places[k]
	if !found {
		return dst, false
	}
	v := shard.value(place)
	return append(dst, v.text[:v.size]...), true
}

func (s *goFlat) Close() error { return nil }
