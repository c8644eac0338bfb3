package guard

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/filler"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Fences lie in cells, and cells in regions that are never closed, with so much on either side that
// is never committed:
//
//	┌─ ─ ─ ─┬──────┬─ ─ ─ ─┬─ ─ ─ ─┬──────┬─ ─ ─ ─┬─ ─
//	  aside   room   aside   aside   room   aside
//	└─ ─ ─ ─┴──────┴─ ─ ─ ─┴─ ─ ─ ─┴──────┴─ ─ ─ ─┴─ ─
//	          cell                   cell
//
// Up to pooledPages OS pages there is a class of cells for each number of pages, and what is
// committed stays so; cells of read-only fences show a file, which is written to through a second
// mapping, because to change the protection twice takes ten times as long. Above there is a class for
// each power of two, and nothing stays committed.
const (
	pooledPages = 16
	chunkCells  = 256      // in a region, at most
	chunkSize   = 16 << 20 // bytes of a region, unless it has one cell
)

// aside is whole OS pages, of 64 KiB too.
var aside = max(guardSize/2, PageSize())

// cell is the memory of one fence at a time.
type cell struct {
	region *Region
	off    int // of the room, in the region
	room   int // bytes
	class  int
	spot   *trap.Spot

	lo, hi    int  // what is committed of the room
	protected bool // it is read-only, for this fence

	file  *os.File // shown by the room, if it is always read-only
	image []byte   // the room, where it can be written to: another mapping of the file, if there is one

	// The fence that is there. fences.mu guards it, for faults on other goroutines.
	live bool
	data unsafe.Pointer
	n    int
}

var fences fencePool

// mostCells bounds the cells that are committed at a time. Each is two mappings more of those that the
// process may hold, and when there are none left the Go runtime dies: so cells have half. Tests have
// less.
var mostCells = int64(vm.Probe().Mappings() / 4)

// fencePool is the cells that no fence is in, by class.
type fencePool struct {
	committed atomic.Int64 // cells, those that fences are in too

	mu   sync.Mutex
	free [2][pooledPages + bits.UintSize][]*cell // the second are those that show files
}

// cellClass returns the class for n bytes, and its room.
func cellClass(n int) (class, room int) {
	pages := max(int(alignUp(uintptr(n), uintptr(PageSize())))/PageSize(), 1)
	if pages <= pooledPages {
		return pages, pages * PageSize()
	}
	k := bits.Len(uint(pages - 1))
	return pooledPages + k, PageSize() << k
}

// of returns the cells of a class.
func (p *fencePool) of(class int, shows bool) *[]*cell {
	if shows {
		return &p.free[1][class]
	}
	return &p.free[0][class]
}

// errNoFile is wrapped by the errors of files: there is no folder, no descriptor or no room for them.
var errNoFile = errors.New("no file for it")

// newCell makes a fence. A read-only one for which there is no file is made without, which takes longer.
func newCell(data []byte, align int, how placement) (*cell, error) {
	class, _ := cellClass(len(data))
	c, err := tryCell(data, align, how, how == readOnly && class <= pooledPages)
	if errors.Is(err, errNoFile) {
		c, err = tryCell(data, align, how, false)
	}
	return c, err
}

func tryCell(data []byte, align int, how placement, shows bool) (*cell, error) {
	c, err := fences.take(len(data), shows)
	if err != nil {
		return nil, err
	}
	if err = c.fill(data, align, how); err != nil {
		return nil, errors.Join(err, c.leave())
	}
	return c, nil
}

// take returns a cell for n bytes, which shows a file or not.
func (p *fencePool) take(n int, shows bool) (*cell, error) {
	class, room := cellClass(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.of(class, shows)
	if len(*free) == 0 {
		more, err := p.grow(class, room, shows)
		if err != nil {
			return nil, err
		}
		*free = append(*free, more...)
	}
	c := (*free)[len(*free)-1]
	*free = (*free)[:len(*free)-1]
	return c, nil
}

func (p *fencePool) give(c *cell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.live = false
	free := p.of(c.class, c.file != nil)
	*free = append(*free, c)
}

// makeRoom decommits the cells that no fence is in, of whatever class. It tells whether there are as few
// then as may be.
func (p *fencePool) makeRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, classes := range p.free {
		for _, free := range classes {
			for _, c := range free {
				_ = c.decommit() // or it stays
			}
		}
	}
	return p.committed.Load() <= mostCells
}

// grow makes cells of a class.
func (p *fencePool) grow(class, room int, shows bool) ([]*cell, error) {
	stride := room + 2*aside
	cells := make([]*cell, min(max(chunkSize/stride, 1), chunkCells))
	region, err := Map(Config{Name: "fence", Size: len(cells) * stride})
	if err != nil {
		return nil, err
	}
	var file *os.File
	image := region.Bytes()
	if shows {
		if file, image, err = writable(region.Size()); err != nil {
			return nil, errors.Join(err, region.Close())
		}
	}
	_ = trap.Install() // where it cannot be, faults end the program as Go does it
	spots := trap.Note(uintptr(region.Base()), uintptr(stride), len(cells))
	for i := range cells {
		off := i*stride + aside
		cells[i] = &cell{region: region, off: off, room: room, class: class, spot: &spots[i], file: file, image: image[off:][:room]}
	}
	region.Explain(func(f *Fault) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := f.Offset / stride; f.Offset >= 0 && i < len(cells) && cells[i].live {
			cells[i].explain(f)
		}
	})
	return cells, nil
}

// writable makes a file of so many bytes that can be written to in memory.
func writable(size int) (f *os.File, image []byte, err error) {
	if f, err = nameless(int64(size)); err != nil {
		return nil, nil, err
	}
	p, err := vm.MapShared(uintptr(size), int(f.Fd()))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, unsafe.Slice((*byte)(p), size), nil
}

// inMemory is a folder of files in memory, where there is one. Tests have none.
var inMemory = "/dev/shm"

// nameless makes a file that goes with its last user; in memory, where there is such a folder.
func nameless(size int64) (*os.File, error) {
	f, err := os.CreateTemp(inMemory, "fence")
	if err != nil {
		f, err = os.CreateTemp("", "fence")
	}
	if err != nil {
		return nil, errors.Join(errNoFile, err)
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(size)); err != nil {
		return nil, errors.Join(errNoFile, err, f.Close())
	}
	return f, nil
}

func (c *cell) explain(f *Fault) {
	f.Kind, f.Offset, f.Size = c.kindAt(f.Addr), int(f.Addr-uintptr(c.data)), c.n
}

func (c *cell) kindAt(addr uintptr) Kind {
	switch {
	case addr < uintptr(c.data):
		return Underflow
	case addr-uintptr(c.data) >= uintptr(c.n):
		return Overflow
	}
	return Protected
}

// fill makes a fence of the cell.
func (c *cell) fill(data []byte, align int, how placement) error {
	if err := c.commit(len(data), how); err != nil {
		return err
	}
	at := 0
	switch {
	case len(data) == 0:
		at = c.room + aside/2 // there are guards on both sides
	case how != atStart:
		at = (c.room - len(data)) &^ (align - 1)
	}
	p := unsafe.Add(c.region.Base(), c.off+at)
	canary.Fill(c.image[c.lo:min(at, c.hi)])
	copy(c.image[min(at, c.hi):], data)
	canary.Fill(c.image[min(at+len(data), c.hi):c.hi])
	if c.file == nil && how == readOnly {
		if err := c.region.Protect(c.off+c.lo, c.hi-c.lo, Read); err != nil {
			return err
		}
		c.protected = true
	}
	fences.mu.Lock()
	c.live, c.data, c.n = true, p, len(data)
	fences.mu.Unlock()
	c.spot.Take() // what the last one's users may have done since
	c.spot.Say(&trap.Report{
		Base: uintptr(p), Size: uintptr(len(data)), Region: `"fence"`,
		Before: Underflow.String(), Inside: Protected.String(), Beyond: Overflow.String(),
	})
	return nil
}

// commit makes n bytes usable where they are to be.
func (c *cell) commit(n int, how placement) (err error) {
	if c.hi > 0 {
		return nil // the cell was used before, and stays committed
	}
	defer func() {
		if err != nil {
			fences.committed.Add(-1)
		}
	}()
	if fences.committed.Add(1) > mostCells && !fences.makeRoom() {
		return fmt.Errorf("%d are there, and the process may hold %d mappings (vm.max_map_count), half of which is left to others: %w",
			mostCells, vm.Probe().MaxMappings, ErrNoMemory)
	}
	lo, hi := 0, c.room
	if c.class > pooledPages {
		if n = int(alignUp(uintptr(n), uintptr(PageSize()))); how == atStart {
			hi = n
		} else {
			lo = c.room - n
		}
	}
	if c.file != nil {
		// Where there is no room for the file, this is an error, and a write to image would be a fault.
		if _, err := c.file.WriteAt(make([]byte, c.room), int64(c.off)); err != nil {
			return errors.Join(errNoFile, err)
		}
		if err := c.region.MapFile(c.off, c.room, c.file, int64(c.off), Read); err != nil {
			return err
		}
	} else if err := c.region.Commit(c.off+lo, hi-lo); err != nil {
		return err
	}
	c.lo, c.hi = lo, hi
	return nil
}

// leave gives the cell back. If it cannot be made ready nobody gets it any more.
func (c *cell) leave() error {
	err := c.empty()
	if err == nil {
		fences.give(c)
	}
	return err
}

// empty makes the cell ready for another fence.
func (c *cell) empty() error {
	c.spot.Say(nil)
	if c.protected {
		if err := c.region.Protect(c.off+c.lo, c.hi-c.lo, ReadWrite); err != nil {
			return err
		}
		c.protected = false
	}
	if c.class > pooledPages {
		return c.decommit()
	}
	return nil
}

// decommit gives the memory back that a cell has.
func (c *cell) decommit() error {
	if c.hi == 0 {
		return nil
	}
	if err := c.region.Decommit(c.off+c.lo, c.hi-c.lo); err != nil {
		return err
	}
	c.lo, c.hi = 0, 0
	fences.committed.Add(-1)
	return nil
}

// canary is what lies in a room beside the data. It is always the same, so that what a fuzzer's
// target reads there is, too.
var canary = func() (p filler.Pattern) {
	for i := range p {
		p[i] = byte(i*151) ^ byte(i>>8) ^ 0xA5
	}
	return p
}()

// overwritten returns the offsets from the data of the canary bytes nearest to it, on either side,
// that somebody wrote to.
func (c *cell) overwritten() (offsets []int) {
	at := int(uintptr(c.data)-uintptr(c.region.Base())) - c.off
	if last := canary.Last(c.image[c.lo:min(at, c.hi)]); last >= 0 {
		offsets = append(offsets, c.lo+last-at)
	}
	if from := min(at+c.n, c.hi); from < c.hi {
		if first := canary.First(c.image[from:c.hi]); first >= 0 {
			offsets = append(offsets, from+first-at)
		}
	}
	return offsets
}
