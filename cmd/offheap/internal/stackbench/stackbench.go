// Package stackbench measures many stacks held at the same time: stacks of package stack, goroutines, and
// threads of C. For each kind it takes the time to open one, the mappings, and the memory beyond the
// touched OS pages. It also times the operations on one stack.
//
// The figures are the whole process's, so each kind is measured in a process of its own.
package stackbench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/arena"
	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/workload"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// Figures are the costs of many stacks held at the same time, each touched in one OS page.
type Figures struct {
	Stacks         int     `json:"stacks"`
	NsPerStack     float64 `json:"ns_per_stack"`
	Mappings       int     `json:"mappings,omitempty"`                 // 0 where the system does not tell
	RSSBytes       int64   `json:"rss_bytes"`                          // -1 where the system does not tell
	PageTableBytes int64   `json:"page_table_bytes"`                   // -1 where the system does not tell
	Overhead       float64 `json:"overhead_bytes_per_stack,omitempty"` // of package stack only: memory beyond touched pages and page tables
	HighWater      int     `json:"high_water_bytes,omitempty"`         // the deepest stack
	Limit          string  `json:"limit,omitempty"`                    // the reason why there are no more

	*Times
}

// Times are nanoseconds for each operation on stacks. Call and Overflow are 0 if native code cannot run,
// CgoCall is 0 without cgo.
type Times struct {
	GetPut   float64 `json:"get_put_ns"`
	GetPut2  float64 `json:"get_put_2_ns"` // for each pair that two goroutines do together
	PushPop  float64 `json:"push_pop_ns"`
	New      float64 `json:"new32_ns"`       // 32 bytes in a frame that is popped every 1000
	ArenaNew float64 `json:"arena_new32_ns"` // the same in an arena that is rewound
	Call     float64 `json:"call_ns,omitempty"`
	Overflow float64 `json:"overflow_ns,omitempty"`
	CgoCall  float64 `json:"cgo_call_ns,omitempty"`
}

// footprint is the memory of the process, in bytes; -1 where the system does not tell.
type footprint struct{ RSS, PageTables int64 }

// readFootprint gives unused memory of the Go heap back, and reads the footprint.
func readFootprint() footprint {
	return footprint{workload.RestartPeak(), workload.ProcessStatus("VmPTE:")}
}

// held returns the figures of n stacks that were made since the footprint before was read.
func (before footprint) held(n int, took time.Duration) Figures {
	now := footprint{workload.Resident(), workload.ProcessStatus("VmPTE:")}
	f := Figures{Stacks: n, NsPerStack: float64(took.Nanoseconds()) / float64(max(n, 1)), Mappings: mappings()}
	if before.RSS >= 0 && before.PageTables >= 0 {
		f.RSSBytes, f.PageTableBytes = max(now.RSS-before.RSS, 0), max(now.PageTables-before.PageTables, 0)
	}
	return f
}

// mappings returns the number of mappings of the process; 0 where the system does not tell.
func mappings() int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return bytes.Count(maps, []byte("\n"))
}

// getters is the number of goroutines that get and put at the same time, a stack each.
const getters = 2

// Stacks opens n stacks of size bytes, touches an OS page of each, and holds them all. If guards take
// mappings and there are no more, it holds fewer and says so in Limit. Then it puts them back and times
// the operations on one.
func Stacks(n, size int, progress measure.Progress) (*Figures, error) {
	held := make([]*stack.Stack, n)
	for i := range held {
		held[i] = nil // into RAM
	}
	before := readFootprint()
	start := time.Now()
	p, err := stack.OpenPool(stack.Config{Size: size, Max: max(n, getters)})
	if err != nil {
		return nil, err
	}
	var limit error
	for i := range held {
		if i%4096 == 0 {
			progress("stacks", i, n)
		}
		if held[i], limit = p.TryGet(); limit != nil {
			held = held[:i]
			break
		}
		*stack.New[uint64](held[i]) = uint64(i)
	}
	f := before.held(len(held), time.Since(start))
	if f.RSSBytes > 0 {
		f.Overhead = float64(f.RSSBytes-int64(len(held)*guard.PageSize())) / float64(max(len(held), 1))
	}
	if limit != nil {
		if !errors.Is(limit, guard.ErrNoMemory) || len(held) == 0 {
			return nil, errors.Join(limit, p.Close())
		}
		f.Limit = limit.Error()
	}
	for i, s := range held {
		if i%4096 == 0 {
			progress("putting back", i, len(held))
		}
		p.Put(s)
	}
	f.HighWater = p.Stats().HighWater
	f.Times = new(Times)
	err = f.Times.measure(p, size)
	if Cgo {
		f.CgoCall = measure.Nanoseconds(cgoCalls)
	}
	return &f, errors.Join(err, p.Close())
}

// measure times the operations on a pool of which no stack is in use.
func (t *Times) measure(p *stack.Pool, size int) error {
	var failed [getters]error
	getPut := func(n int, failed *error) {
		for range n {
			s, err := p.TryGet()
			if err != nil {
				*failed = err
				continue // takes time, without which Nanoseconds would not end
			}
			p.Put(s)
		}
	}
	t.GetPut = measure.Nanoseconds(func(n int) { getPut(n, &failed[0]) })
	t.GetPut2 = measure.Nanoseconds(func(n int) {
		var all sync.WaitGroup
		for i := range failed {
			all.Go(func() { getPut(n/getters, &failed[i]) })
		}
		all.Wait()
	})
	s, err := p.TryGet()
	if err := errors.Join(append(failed[:], err)...); err != nil {
		return err
	}
	defer p.Put(s)
	t.PushPop = measure.Nanoseconds(func(n int) {
		for range n {
			s.Pop(s.Push())
		}
	})
	perFrame := min(1000, size/2/32)
	t.New = measure.Nanoseconds(func(n int) {
		for done := 0; done < n; done += perFrame {
			f := s.Push()
			for i := range perFrame {
				stack.New[[4]uint64](s)[0] = uint64(i)
			}
			s.Pop(f)
		}
	})
	a, err := arena.Open(arena.Config{})
	if err != nil {
		return err
	}
	t.ArenaNew = measure.Nanoseconds(func(n int) {
		for done := 0; done < n; done += perFrame {
			m := a.Mark()
			for i := range perFrame {
				arena.New[[4]uint64](a)[0] = uint64(i)
			}
			a.Rewind(m)
		}
	})
	return errors.Join(a.Close(), t.measureCalls(s))
}

// Machine code that returns, and that writes to the address in its argument.
var (
	returns = map[string][]byte{"amd64": {0xc3}, "arm64": {0xc0, 0x03, 0x5f, 0xd6}}
	writes  = map[string][]byte{"amd64": {0x48, 0x89, 0x3f, 0xc3}, "arm64": {0x00, 0x00, 0x00, 0xf9, 0xc0, 0x03, 0x5f, 0xd6}}
)

// measureCalls times a call of an empty function, and a call that touches memory below the stack and
// returns an error.
func (t *Times) measureCalls(s *stack.Stack) (err error) {
	empty, err := native.LoadCode(returns[runtime.GOARCH])
	if err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return err
	}
	defer func() { err = errors.Join(err, empty.Close()) }()
	overflowing, err := native.LoadCode(writes[runtime.GOARCH])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, overflowing.Close()) }()

	fn := empty.Func(0)
	t.Call = measure.Nanoseconds(func(n int) {
		for range n {
			if _, failed := native.Call(s, fn); failed != nil {
				err = failed
			}
		}
	})
	frame := s.Push()
	floor := uintptr(unsafe.Pointer(unsafe.SliceData(s.Alloc(s.Size(), 8))))
	s.Pop(frame)
	fn = overflowing.Func(0)
	t.Overflow = measure.Nanoseconds(func(n int) {
		for range n {
			var fault *guard.Fault
			if _, failed := native.Call(s, fn, floor-8); !errors.As(failed, &fault) || fault.Kind != native.StackOverflow {
				err = fmt.Errorf("an overflow gave %v", failed)
			}
		}
	})
	return err
}

// Goroutines starts n goroutines that wait, and holds them.
func Goroutines(n int, progress measure.Progress) *Figures {
	before := readFootprint()
	start := time.Now()
	var started sync.WaitGroup
	end := make(chan struct{})
	started.Add(n)
	for i := range n {
		if i%4096 == 0 {
			progress("goroutines", i, n)
		}
		go func() {
			started.Done()
			<-end
		}()
	}
	started.Wait()
	f := before.held(n, time.Since(start))
	close(end)
	return &f
}
