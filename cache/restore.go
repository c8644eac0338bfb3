package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/seed-9a6c551e/offheap/slab"
)

// snapshotReader reads a snapshot: block after block, and entries from their bytes.
type snapshotReader struct {
	r       io.Reader
	n       int64  // bytes read
	block   []byte // the last block that was read
	rest    []byte // the part of it that was not read as entries yet
	joined  []byte // an entry that reaches over the end of a block
	entries uint64
	ended   bool
}

// torn returns the error for bytes that are no snapshot.
func torn(what string, about ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(what, about...), ErrSnapshot)
}

// full fills b.
func (sr *snapshotReader) full(b []byte) error {
	n, err := io.ReadFull(sr.r, b)
	sr.n += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return torn("it ends after %d bytes", sr.n)
	}
	return err
}

// start reads the header.
func (sr *snapshotReader) start() error {
	var h [headerLen]byte
	if err := sr.full(h[:]); err != nil {
		return err
	}
	switch v := binary.LittleEndian.Uint32(h[8:]); {
	case string(h[:8]) != magic || binary.LittleEndian.Uint32(h[12:]) != crc32.Checksum(h[:12], castagnoli):
		return torn("it begins with other bytes")
	case v != version:
		return torn("it has version %d, not %d", v, version)
	}
	return nil
}

// more reads the next block, or the end.
func (sr *snapshotReader) more() error {
	var head [blockHead]byte
	if err := sr.full(head[:]); err != nil {
		return err
	}
	n, sum := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if n > blockLimit {
		return torn("a block of %d bytes", n)
	}
	end := n == 0
	if end {
		n = endLen - blockHead
	}
	if cap(sr.block) < int(n) {
		sr.block = make([]byte, n, max(n, 2*blockGoal))
	}
	sr.block = sr.block[:n]
	if err := sr.full(sr.block); err != nil {
		return err
	}
	if crc32.Checksum(sr.block, castagnoli) != sum {
		return torn("the checksum before byte %d is wrong", sr.n)
	}
	if sr.rest = sr.block; end {
		sr.ended, sr.rest = true, nil
		if entries := binary.LittleEndian.Uint64(sr.block); entries != sr.entries {
			return torn("it has %d entries, not %d", sr.entries, entries)
		}
	}
	return nil
}

// next reads the next entry; ok is false after the last one. The slices are valid until the next call.
func (sr *snapshotReader) next() (key, value []byte, deadline int64, ok bool, err error) {
	for len(sr.rest) == 0 {
		if err = sr.more(); err != nil || sr.ended {
			return nil, nil, 0, false, err
		}
	}
	b, joined := sr.rest, false
	for {
		k, kn := binary.Uvarint(b)
		v, vn := binary.Uvarint(b[max(kn, 0):])
		d, dn := binary.Uvarint(b[max(kn, 0)+max(vn, 0):])
		if kn < 0 || vn < 0 || dn < 0 || k > MaxKey || v > MaxValue || d > 1<<63-1 {
			return nil, nil, 0, false, torn("an entry before byte %d has impossible lengths", sr.n)
		}
		at := kn + vn + dn
		if size := at + int(k) + int(v); kn > 0 && vn > 0 && dn > 0 && len(b) >= size {
			if sr.rest = b[size:]; joined {
				sr.rest = sr.block[len(sr.block)-(len(b)-size):]
			}
			sr.entries++
			return b[at : at+int(k)], b[at+int(k) : size], int64(d), true, nil
		}
		// The entry goes on in the next block.
		if !joined {
			sr.joined, joined = append(sr.joined[:0], b...), true
		}
		sr.rest = nil
		if err = sr.more(); err != nil {
			return nil, nil, 0, false, err
		}
		if sr.ended {
			return nil, nil, 0, false, torn("its last entry is cut off")
		}
		sr.joined = append(sr.joined, sr.rest...)
		b = sr.joined
	}
}

// ReadFrom sets the entries of a snapshot that WriteTo wrote, and returns the number of bytes that it read, which end where the
// snapshot ends. Entries that the cache has stay, but those with the same keys are replaced. Times to live end at the same points
// in time of the wall clock; entries whose time is over are left out. The Limit holds: if the snapshot is larger, entries are
// evicted as usual.
//
// ReadFrom looks at the whole snapshot first. If that is torn or foreign, the error wraps ErrSnapshot; if r fails, it is the
// error of r. Then the cache is as it was. Errors of Set end it in the middle: some of the entries are there.
//
// Cost: some 300 ns of processor time an entry, more if the kernel has to find memory; up to two other goroutines help the caller. Some 5 MB on the Go
// heap meanwhile. If r is an io.Seeker (a file, a bytes.Reader) it is read twice. If not, ReadFrom keeps the snapshot outside the Go heap
// meanwhile: as many bytes as it has, which the budget counts, and the Limit does not.
func (c *Cache) ReadFrom(r io.Reader) (n int64, err error) {
	if c == nil || len(c.shards) == 0 {
		unopened("ReadFrom")
	}
	if !c.enter() {
		return 0, c.errClosed("read")
	}
	defer c.leave()
	if n, err = c.restore(r); err != nil {
		return n, fmt.Errorf("cache: read %q: %w", c.config.Name, err)
	}
	return n, nil
}

func (c *Cache) restore(r io.Reader) (n int64, err error) {
	check := &snapshotReader{r: r}
	if seeker, ok := r.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			if err := check.all(nil); err != nil {
				return check.n, err
			}
			if _, err := seeker.Seek(at, io.SeekStart); err != nil {
				return check.n, err
			}
			return check.n, c.setAll(r, check)
		}
	}
	heap, err := slab.Open(slab.Config{Name: c.config.Name + ": snapshot", Reserve: 2 << 20})
	if err != nil {
		return 0, err
	}
	defer func() {
		if heap.Close() != nil { // the kernel did not take some memory: the second call has the error that counts
			err = errors.Join(err, heap.Close())
		}
	}()
	kept := &keptBytes{heap: heap}
	check.r = io.TeeReader(r, kept)
	if err := check.all(nil); err != nil {
		return check.n, err
	}
	return check.n, c.setAll(kept, check)
}

// all reads all entries, and calls set for each unless it is nil.
func (sr *snapshotReader) all(set func(key, value []byte, deadline int64) error) error {
	if err := sr.start(); err != nil {
		return err
	}
	for {
		key, value, deadline, ok, err := sr.next()
		if err != nil || !ok {
			return err
		}
		if set != nil {
			if err := set(key, value, deadline); err != nil {
				return err
			}
		}
	}
}

// setAll sets the entries of a snapshot, which check has read.
func (c *Cache) setAll(r io.Reader, check *snapshotReader) error {
	sr := &snapshotReader{r: r}
	c.expect(int(check.entries), check.n)
	defer c.expect(0, 0)
	wall := time.Now().UnixNano() - c.now() // of Open
	batches := [2]batch{{cache: c}, {cache: c}}
	defer batches[0].stop()
	defer batches[1].stop()
	b, other := &batches[0], &batches[1]
	err := sr.all(func(key, value []byte, deadline int64) error {
		if deadline != 0 && deadline != 1<<63-1 {
			if deadline -= wall; deadline <= c.now() {
				return nil
			}
		}
		if c.isLarge(key, value) {
			return c.set("ReadFrom", key, value, deadline)
		}
		if b.add(key, value, deadline) {
			return nil
		}
		if err := other.finish(); err != nil {
			return err
		}
		b.share()
		b, other = other, b
		b.add(key, value, deadline)
		return nil
	})
	if err != nil {
		return err
	}
	if err := other.finish(); err != nil {
		return err
	}
	b.share()
	return b.finish()
}

// expect prepares the indexes of shards that are empty for some entries, which take some bytes in all; or ends that, if there are none.
func (c *Cache) expect(entries int, bytes int64) {
	if c.config.Limit > 0 && entries > 0 {
		mean := bytes/int64(entries) + headerSize + granule/2
		entries = min(entries, int(int64(c.config.Limit)*3/4/mean))
	}
	c.eachOpen(func(s *shard) { s.index.Expect(entries / len(c.shards)) })
}

// keptBytes keeps what is written to it, for reading. It is outside the Go heap.
type keptBytes struct {
	heap  *slab.Heap
	parts [][]byte
	used  int // bytes of the last part that are written
	at    int // bytes of the first part that were read
}

const keptPart = 4 << 20

func (k *keptBytes) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if len(k.parts) == 0 || k.used == keptPart {
			p, err := k.heap.TryAllocDirty(keptPart, 1)
			if err != nil {
				return n, err
			}
			k.parts, k.used = append(k.parts, p), 0
		}
		m := copy(k.parts[len(k.parts)-1][k.used:], b[n:])
		k.used += m
		n += m
	}
	return n, nil
}

func (k *keptBytes) Read(b []byte) (n int, err error) {
	for n < len(b) && len(k.parts) > 0 {
		end := keptPart
		if len(k.parts) == 1 {
			end = k.used
		}
		m := copy(b[n:], k.parts[0][k.at:end])
		n += m
		if k.at += m; k.at < end {
			break
		}
		if len(k.parts) == 1 {
			k.parts = nil
			break
		}
		k.heap.Free(k.parts[0])
		k.parts, k.at = k.parts[1:], 0
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
