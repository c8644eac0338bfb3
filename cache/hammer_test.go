package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
)

// pattern fills a value that says which key it is of: each 8 bytes are the key's number.
func pattern(value []byte, key uint64) []byte {
	for i := range value {
		value[i] = byte(key >> (i % 8 * 8))
	}
	return value
}

// holdsPattern tells whether a value is one of a key.
func holdsPattern(value []byte, key uint64) bool {
	for i := range value {
		if value[i] != byte(key>>(i%8*8)) {
			return false
		}
	}
	return true
}

// TestHammerCache has goroutines do everything at once: every value that is read is whole, and of its key.
func TestHammerCache(t *testing.T) {
	rounds := 30_000
	if testing.Short() {
		rounds = 4_000
	}
	for _, limit := range []int{0, MinLimit, 8 << 20} {
		var evicted atomic.Int64
		c, err := Open(Config{Limit: limit, OnEvict: func(key, value []byte) {
			evicted.Add(1)
			if !holdsPattern(value, binary.LittleEndian.Uint64(key)) {
				t.Error("OnEvict: a value of another key")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for g := range 6 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				var dst []byte
				buffer := make([]byte, 40_000)
				for i := range rounds {
					k := r.Uint64N(4000) + 1
					key := binary.LittleEndian.AppendUint64(nil, k)
					n := r.IntN(400)
					if r.IntN(200) == 0 {
						n = r.IntN(len(buffer))
					}
					switch r.IntN(16) {
					case 0, 1, 2, 3:
						if err := c.Set(key, pattern(buffer[:n], k)); err != nil {
							t.Error(err)
						}
					case 4:
						if err := c.SetTTL(key, pattern(buffer[:n], k), time.Duration(r.IntN(2_000_000))); err != nil {
							t.Error(err)
						}
					case 5:
						c.Delete(key)
					case 6:
						c.Touch(key, time.Hour)
						c.TTL(key)
					case 7:
						err := c.Update(key, func(old []byte, ok bool) ([]byte, bool) {
							if !holdsPattern(old, k) {
								t.Error("Update: a value of another key")
							}
							return pattern(buffer[:n], k), n%8 > 0
						})
						if err != nil {
							t.Error(err)
						}
					case 8:
						c.View(key, func(v []byte) {
							if !holdsPattern(v, k) {
								t.Error("View: a value of another key")
							}
							c.Delete(key)
							if n%4 == 0 {
								c.View(key, func([]byte) {})
							}
							if !holdsPattern(v, k) {
								t.Error("View: a value changed")
							}
						})
					case 9:
						if i%400 != 0 {
							continue
						}
						switch r.IntN(4) {
						case 0:
							c.Reset()
						case 1:
							if err := c.Purge(); err != nil {
								t.Error(err)
							}
						case 2:
							if _, err := c.WriteTo(io.Discard); err != nil {
								t.Error(err)
							}
						case 3:
							for key, v := range c.All() {
								if !holdsPattern(v, binary.LittleEndian.Uint64(key)) {
									t.Error("All: a value of another key")
								}
							}
						}
					default:
						var ok bool
						if dst, ok = c.Get(dst[:0], key); ok && !holdsPattern(dst, k) {
							t.Error("Get: a value of another key")
						}
					}
				}
			})
		}
		all.Wait()
		c.check()
		if st := c.Stats(); limit > 0 && st.Committed > int64(limit) || st.Evictions == 0 && limit == MinLimit {
			t.Errorf("%+v", st)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHammerClose closes a cache while goroutines use it: their calls miss or return ErrClosed.
func TestHammerClose(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		c, err := Open(Config{Limit: MinLimit * (round % 2)})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var begun sync.WaitGroup
		for g := range 4 {
			begun.Add(1)
			all.Go(func() {
				begun.Done()
				value := make([]byte, 20_000)
				for i := 0; ; i++ {
					k := uint64(g*100 + i%100)
					key := binary.LittleEndian.AppendUint64(nil, k)
					c.View(key, func(v []byte) {
						if !holdsPattern(v, k) {
							t.Error("View: a value of another key")
						}
					})
					c.Get(nil, key)
					for _, v := range c.All() {
						_ = bytes.Count(v, []byte{1})
						break
					}
					c.Reset()
					if err := c.Set(key, pattern(value[:i%len(value)], k)); err != nil {
						if !errors.Is(err, guard.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		begun.Wait()
		time.Sleep(time.Duration(round) * 50 * time.Microsecond)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if n := c.users.Load(); n != 0 {
			t.Fatalf("%d users are left", n)
		}
	}
}
