package guardtest

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/filler"
	"github.com/seed-9a6c551e/offheap/internal/region"
	"github.com/seed-9a6c551e/offheap/internal/trap"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// The memory of fences: cells, each with room for one fence at a time, in batches, in regions that are never closed.
// Bytes beside a room (aside) are never accessible:
//
//	┌─ ─ ─ ─┬──────┬─ ─ ─ ─┬─ ─ ─ ─┬──────┬─ ─ ─ ─┬─ ─
//	  aside   room   aside   aside   room   aside
//	└─ ─ ─ ─┴──────┴─ ─ ─ ─┴─ ─ ─ ─┴──────┴─ ─ ─ ─┴─ ─
//	          cell                   cell
//
// The life of a batch:
//
//		        open          take, leave: each cell once         hide
//		fresh ────────▶ open ─────────────────────────────▶ left ──────▶ retired
//		                 ▲                                                  │
//		                 └──────────────────────────────────────────────────┘
//		                        open, while enough stay retired
//
//	 1. take gives each cell of an open batch to one fence. When the last of these fences has ended, hide
//	    makes the whole batch inaccessible. So no cell is used again before it was inaccessible.
//	 2. open takes the batch that retired first, and only if withheld others stay retired. So a stale
//	    pointer faults until at least as many other fences were made.
//	 3. The first hiddenAtOnce fences of the process become inaccessible one by one, as soon as they end,
//	    so that tests with few fences find stale pointers, too.
//
// Up to pooledPages OS pages there is a class of cells for each number of pages, and committed cells stay
// committed. The bytes aside are committed and guarded, so that one system call changes the protection of
// the batch: one for each cell takes 1.6 µs. Cells of read-only fences show a file, which is written to
// through a second mapping. Above pooledPages there is a class for each power of two, a batch is one cell,
// and hide decommits it.
const (
	pooledPages     = 16
	chunkCells      = 256       // in a region, at most
	chunkSize       = 16 << 20  // bytes of a region, unless it has few cells
	fewCells        = 4         // in a region, at least, where there are addresses for them
	batchCells      = 16        // in a batch, at most
	batchBytes      = 256 << 10 // of rooms in a batch, at most
	withheldBytes   = 256 << 10 // of rooms in batches that stay retired, unless these are fewer than withheldBatches
	withheldBatches = 2
	hiddenAtOnce    = 1024 // the first fences of the process
)

// aside is the inaccessible bytes on either side of a room: whole OS pages, also where these have 64 KiB.
var aside = max(region.GuardSize/2, guard.PageSize())

// cell is the memory of one fence at a time.
type cell struct {
	batch  *batch
	region *region.Region
	off    int // of the room, in the region
	room   int // bytes
	watch  *trap.Cell

	lo, hi int // the part of the room that is committed

	file  *os.File // that the room shows, for read-only fences; else nil
	image []byte   // the writable bytes of the room: another mapping of the file, if there is one

	// The fence in the cell, or else the last one. fences.mu guards it, for faults on other goroutines.
	live  bool
	data  unsafe.Pointer
	n     int
	ended *trap.Report // report of faults after its end
}

// batch is a group of cells that become accessible and inaccessible together.
type batch struct {
	cells     []*cell
	class     int
	committed bool // the cells, if they are pooled
	guarded   bool // the bytes aside

	// fences.mu guards these.
	taken int // cells that were taken since the batch was opened: the first
	left  int // taken cells whose fence has ended
}

// shelf holds the batches of a class, except those whose cells are all taken and not yet left.
type shelf struct {
	open    []*batch // with cells that can be taken
	retired []*batch // inaccessible, the oldest first
	fresh   []*batch // never used
}

var fences fencePool

// mostCells bounds the cells that are committed at a time. Each takes two of the mappings that the process may
// hold, and the Go runtime dies without mappings: so cells take at most half. Tests set it lower.
var mostCells = int64(vm.Probe().Mappings() / 4)

// fencePool holds all batches, by class.
type fencePool struct {
	committed atomic.Int64 // cells
	ended     atomic.Int64 // fences, ever

	mu      sync.Mutex
	shelves [2][pooledPages + bits.UintSize]shelf // [1] for cells that show files
}

// cellClass returns the class for n bytes, and its room.
func cellClass(n int) (class, room int) {
	pages := max(wholePages(n)/guard.PageSize(), 1)
	if pages <= pooledPages {
		return pages, pages * guard.PageSize()
	}
	k := bits.Len(uint(pages - 1))
	return pooledPages + k, guard.PageSize() << k
}

// wholePages rounds n bytes up to OS pages.
func wholePages(n int) int { return (n + guard.PageSize() - 1) &^ (guard.PageSize() - 1) }

// of returns the batches of a class.
func (p *fencePool) of(class int, shows bool) *shelf {
	if shows {
		return &p.shelves[1][class]
	}
	return &p.shelves[0][class]
}

// errNoFile is wrapped by the errors of files: there is no folder, no descriptor or no room for them.
var errNoFile = errors.New("no file for it")

// newCell makes a fence. Where there is no file for a read-only one, it is made without, which takes longer.
//
// It calls Budget.OnSoft between two tries, when it holds no cell that would be lost if OnSoft panics.
func newCell(data []byte, align int, how placement) (*cell, error) {
	region.Reclaim()
	c, err := anyCell(data, align, how)
	if errors.Is(err, guard.ErrNoMemory) && region.Reclaim() {
		c, err = anyCell(data, align, how)
	}
	return c, err
}

func anyCell(data []byte, align int, how placement) (*cell, error) {
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

// take returns a cell for n bytes; with shows, one that shows a file.
func (p *fencePool) take(n int, shows bool) (*cell, error) {
	class, room := cellClass(n)
	s := p.of(class, shows)
	for {
		c, closed, err := p.takeFrom(s, class, room, shows)
		if c != nil || err != nil {
			return c, err
		}
		err = closed.open()
		p.mu.Lock()
		if err == nil {
			s.open = append(s.open, closed)
		} else {
			s.retired = slices.Insert(s.retired, 0, closed)
		}
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// takeFrom returns a cell of an open batch, or a batch that the caller has to open.
func (p *fencePool) takeFrom(s *shelf, class, room int, shows bool) (*cell, *batch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(s.open) - 1; last >= 0 {
		b := s.open[last]
		c := b.cells[b.taken]
		if b.taken++; b.taken == len(b.cells) {
			s.open = slices.Delete(s.open, last, last+1)
		}
		return c, nil, nil
	}
	if len(s.retired) > 0 && len(s.retired) > s.retired[0].withheld() {
		return nil, s.popRetired(), nil
	}
	if len(s.fresh) == 0 {
		fresh, err := p.grow(class, room, shows)
		if err != nil && len(s.retired) > 0 {
			return nil, s.popRetired(), nil
		}
		if err != nil {
			return nil, nil, err
		}
		s.fresh = fresh
	}
	b := s.fresh[0]
	s.fresh = s.fresh[1:]
	return nil, b, nil
}

func (s *shelf) popRetired() *batch {
	b := s.retired[0]
	s.retired = slices.Delete(s.retired, 0, 1)
	return b
}

// withheld returns how many batches stay retired, at least, when another of its class is opened.
func (b *batch) withheld() int {
	return max(withheldBytes/(len(b.cells)*b.cells[0].room), withheldBatches)
}

// stretch returns where the batch lies in its region.
func (b *batch) stretch() (off, n int) {
	first, last := b.cells[0], b.cells[len(b.cells)-1]
	return first.off - aside, last.off + last.room + aside - (first.off - aside)
}

// open makes the cells accessible.
func (b *batch) open() error {
	off, n := b.stretch()
	first := b.cells[0]
	switch {
	case b.class > pooledPages: // see cell.commit
		return nil
	case b.committed && first.file != nil:
		return first.region.Protect(off, n, guard.Read)
	case b.committed:
		return first.region.Protect(off, n, guard.ReadWrite)
	}
	if err := fences.reserve(len(b.cells)); err != nil {
		return err
	}
	err := b.commit()
	if errors.Is(err, guard.ErrNoMemory) && !errors.Is(err, errNoFile) {
		fences.makeRoom() // the budget may be short
		err = b.commit()
	}
	if err != nil {
		fences.committed.Add(-int64(len(b.cells)))
		return err
	}
	b.committed = true
	for _, c := range b.cells {
		c.lo, c.hi = 0, c.room
	}
	return nil
}

// commit makes all cells of a pooled batch usable.
func (b *batch) commit() error {
	off, n := b.stretch()
	region, room := b.cells[0].region, b.cells[0].room
	if !b.guarded {
		for _, from := range []int{off, off + aside + room} {
			if err := region.GuardRow(from, aside, room+2*aside, len(b.cells)); err != nil {
				return err
			}
		}
		b.guarded = true
	}
	err := b.mapFile()
	if err == nil {
		err = region.Commit(off, n)
	}
	if err != nil {
		return errors.Join(err, region.Decommit(off, n))
	}
	return nil
}

// mapFile makes the rooms show the file, if there is one.
func (b *batch) mapFile() error {
	for _, c := range b.cells {
		if c.file == nil {
			break
		}
		// Where there is no room for the file, this is an error, and a write to image would be a fault.
		if _, err := c.file.WriteAt(make([]byte, c.room), int64(c.off)); err != nil {
			return errors.Join(errNoFile, err)
		}
		if err := c.region.MapFile(c.off, c.room, c.file, int64(c.off), guard.Read); err != nil {
			return err
		}
	}
	return nil
}

// hide makes the cells inaccessible. No fence is in them.
func (b *batch) hide() error {
	if b.class > pooledPages {
		return b.cells[0].decommit()
	}
	off, n := b.stretch()
	return b.cells[0].region.Protect(off, n, guard.None)
}

// decommit gives the memory back that the cells have. No fence is in them.
func (b *batch) decommit() error {
	if !b.committed {
		return nil
	}
	off, n := b.stretch()
	if err := b.cells[0].region.Decommit(off, n); err != nil {
		return err
	}
	b.committed = false
	fences.committed.Add(-int64(len(b.cells)))
	return nil
}

// reserve counts n cells that will be committed.
func (p *fencePool) reserve(n int) error {
	if p.committed.Add(int64(n)) > mostCells && !p.makeRoom() {
		p.committed.Add(-int64(n))
		return fmt.Errorf("%d are there, and the process may hold %d mappings (vm.max_map_count), half of which is left to others: %w",
			mostCells, vm.Probe().MaxMappings, guard.ErrNoMemory)
	}
	return nil
}

// makeRoom decommits the batches of all classes that no fence is in. It tells whether at most mostCells are committed then.
func (p *fencePool) makeRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.shelves {
		for class := range p.shelves[i] {
			s := &p.shelves[i][class]
			for _, b := range s.retired {
				_ = b.decommit() // or it stays
			}
			s.open = slices.DeleteFunc(s.open, func(b *batch) bool {
				unused := b.taken == b.left && b.decommit() == nil
				if unused {
					b.taken, b.left = 0, 0
					s.retired = append(s.retired, b)
				}
				return unused
			})
		}
	}
	return p.committed.Load() <= mostCells
}

// grow makes batches of a class.
func (p *fencePool) grow(class, room int, shows bool) ([]*batch, error) {
	stride := room + 2*aside
	most := min(max(chunkSize/stride, fewCells), chunkCells)
	r, err := region.Reserve(region.Config{Name: "fence", Size: most * stride, MinSize: stride, DeferOnSoft: true})
	if err != nil {
		return nil, err
	}
	var file *os.File
	image := r.Bytes()
	if shows {
		if file, image, err = writable(r.Size()); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	_ = region.ReportFaults() // without it faults end the program as any does in Go
	cells := make([]*cell, r.Size()/stride)
	watched := trap.WatchCells(uintptr(r.Base()), uintptr(stride), len(cells))
	for i := range cells {
		off := i*stride + aside
		cells[i] = &cell{region: r, off: off, room: room, watch: &watched[i], file: file, image: image[off:][:room]}
	}
	r.Explain(func(f *region.Fault) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := f.Offset / stride; f.Offset >= 0 && i < len(cells) && cells[i].data != nil {
			cells[i].explain(f)
		}
	})
	inBatch := 1
	if class <= pooledPages {
		inBatch = min(max(batchBytes/room, 1), batchCells)
	}
	var batches []*batch
	for in := range slices.Chunk(cells, inBatch) {
		b := &batch{cells: in, class: class}
		for _, c := range in {
			c.batch = b
		}
		batches = append(batches, b)
	}
	return batches, nil
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

// explain completes a fault in the cell with the fence it is of. Caller holds fences.mu.
func (c *cell) explain(f *region.Fault) {
	f.Kind, f.Offset, f.Size = c.kindAt(f.Addr), int(f.Addr-uintptr(c.data)), c.n
	if !c.live {
		f.Kind = guard.UseAfterFree
	}
}

func (c *cell) kindAt(addr uintptr) guard.Kind {
	switch {
	case addr < uintptr(c.data):
		return guard.Underflow
	case addr-uintptr(c.data) >= uintptr(c.n):
		return guard.Overflow
	}
	return guard.Protected
}

// fill makes a fence of the cell.
func (c *cell) fill(data []byte, align int, how placement) error {
	if c.batch.class > pooledPages {
		if err := c.commit(len(data), how); err != nil {
			return err
		}
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
		if err := c.region.Protect(c.off+c.lo, c.hi-c.lo, guard.Read); err != nil {
			return err
		}
	}
	report := func(kinds *trap.Kinds) *trap.Report {
		return &trap.Report{Base: uintptr(p), Size: uintptr(len(data)), Kinds: kinds, Region: `"fence"`}
	}
	there, ended := report(&thereKinds), report(&endedKinds)
	fences.mu.Lock()
	c.live, c.data, c.n, c.ended = true, p, len(data), ended
	fences.mu.Unlock()
	c.watch.TakeFault() // a late touch of the fence that was here
	c.watch.SetReport(there)
	return nil
}

// The kinds of touches of a fence, and of one that has ended.
var (
	thereKinds = trap.Kinds{Before: string(guard.Underflow), Inside: string(guard.Protected), Beyond: string(guard.Overflow)}
	endedKinds = trap.Kinds{Before: string(guard.UseAfterFree), Inside: string(guard.UseAfterFree), Beyond: string(guard.UseAfterFree)}
)

// commit makes the part of a cell usable where n bytes of data go. The cell is not pooled.
func (c *cell) commit(n int, how placement) error {
	if err := fences.reserve(1); err != nil {
		return err
	}
	lo, hi := 0, c.room
	if n = wholePages(n); how == atStart {
		hi = n
	} else {
		lo = c.room - n
	}
	if err := c.region.Commit(c.off+lo, hi-lo); err != nil {
		fences.committed.Add(-1)
		return err
	}
	c.lo, c.hi = lo, hi
	return nil
}

// decommit gives the memory of a cell back. The cell is not pooled.
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

// leave ends the fence. A batch that cannot be made inaccessible is used no more.
func (c *cell) leave() error {
	c.watch.SetReport(c.ended)
	if len(c.batch.cells) > 1 && fences.ended.Add(1) <= hiddenAtOnce {
		_ = c.region.Protect(c.off, c.room, guard.None) // or it is done with the batch
	}
	b := c.batch
	fences.mu.Lock()
	c.live = false
	b.left++
	last := b.left == len(b.cells)
	fences.mu.Unlock()
	if !last {
		return nil
	}
	if err := b.hide(); err != nil {
		return err
	}
	fences.mu.Lock()
	defer fences.mu.Unlock()
	b.taken, b.left = 0, 0
	s := fences.of(b.class, c.file != nil)
	s.retired = append(s.retired, b)
	return nil
}

// canary is the pattern in a room beside the data. It is always the same, so that a fuzz target that reads it
// behaves the same each time.
var canary = func() (p filler.Pattern) {
	for i := range p {
		p[i] = byte(i*151) ^ byte(i>>8) ^ 0xA5
	}
	return p
}()

// overwritten returns the canary bytes that were written to, the nearest one on either side of the data, as offsets
// from the data.
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
