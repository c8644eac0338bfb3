package trace

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Trace is what a program did with its allocator, in the order of the recorder.
type Trace struct {
	Ops     []Op
	Objects int // their numbers are below it
	Threads int
}

// Op is a line of a trace.
type Op struct {
	Code   byte   // 'm' malloc, 'c' calloc, 'r' realloc, 'f' free; 'x' a thread ended
	Thread uint32 // from 0 on, in the order in which they appear
	Object uint32 // from 0 on, likewise; never used again
	Turn   uint32 // which of the object's operations it is, from 0 on
	Size   int
	Was    int // the object's size before, where it is resized or freed
	Align  int // 0 for the default
}

// header is the first line of a trace, which may be missing.
const header = "op,thread,id,size,align"

// Read reads lines of op,thread,id,size,align, compressed by gzip or not. The error for a line
// that makes no sense has its number and says why.
func Read(r io.Reader) (*Trace, error) {
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		buffered = bufio.NewReader(z)
	}
	p := parser{threads: map[uint64]uint32{}, objects: map[uint64]*object{}}
	lines := bufio.NewScanner(buffered)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || n == 1 && line == header {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	p.trace.Objects, p.trace.Threads = len(p.objects), len(p.threads)
	return &p.trace, nil
}

type parser struct {
	trace   Trace
	threads map[uint64]uint32
	objects map[uint64]*object
}

type object struct {
	number, turns uint32
	size          int
	freed         bool
}

func (p *parser) line(line string) error {
	fields := strings.Split(line, ",")
	if len(fields) != 5 {
		return fmt.Errorf("%d fields, want %s", len(fields), header)
	}
	if len(fields[0]) != 1 || !strings.Contains("mcrfx", fields[0]) {
		return fmt.Errorf("operation %q is none of m, c, r, f, x", fields[0])
	}
	var v [4]uint64
	for i, field := range fields[1:] {
		n, err := strconv.ParseUint(field, 10, 63)
		if err != nil {
			return fmt.Errorf("%s %q is not a number", strings.Split(header, ",")[i+1], field)
		}
		v[i] = n
	}
	op := Op{Code: fields[0][0], Size: int(v[2]), Align: int(v[3])}
	if op.Align&(op.Align-1) != 0 {
		return fmt.Errorf("alignment %d is not a power of two", op.Align)
	}
	thread, known := p.threads[v[0]]
	if !known {
		thread = uint32(len(p.threads))
		p.threads[v[0]] = thread
	}
	op.Thread = thread
	if op.Code != 'x' {
		o := p.objects[v[1]]
		fresh := op.Code == 'm' || op.Code == 'c'
		switch {
		case fresh && o != nil:
			return fmt.Errorf("object %d is allocated a second time", v[1])
		case fresh:
			o = &object{number: uint32(len(p.objects))}
			p.objects[v[1]] = o
		case o == nil:
			return fmt.Errorf("object %d was never allocated", v[1])
		case o.freed:
			return fmt.Errorf("object %d was freed before", v[1])
		}
		op.Object, op.Turn, op.Was = o.number, o.turns, o.size
		o.turns++
		o.size = op.Size
		o.freed = op.Code == 'f'
	}
	p.trace.Ops = append(p.trace.Ops, op)
	return nil
}

// Counts are what a trace holds.
type Counts struct {
	Ops, Malloc, Calloc, Realloc, Free, Threads int
	CrossFrees, Aligned, ZeroSize               int
	PeakObjects, PeakBytes, TotalBytes          int
	LiveAtEnd, DistinctSizes                    int
}

// Count counts what a trace holds.
func (t *Trace) Count() (c Counts) {
	sizes := make([]int, t.Objects)
	owners := make([]uint32, t.Objects)
	distinct := map[int]bool{}
	objects, bytes := 0, 0
	for _, op := range t.Ops {
		switch op.Code {
		case 'm', 'c', 'r':
			switch op.Code {
			case 'm':
				c.Malloc++
			case 'c':
				c.Calloc++
			case 'r':
				c.Realloc++
				objects--
				bytes -= sizes[op.Object]
			}
			if op.Align > 0 {
				c.Aligned++
			}
			if op.Size == 0 {
				c.ZeroSize++
			}
			distinct[op.Size] = true
			objects++
			bytes += op.Size
			c.TotalBytes += op.Size
			sizes[op.Object], owners[op.Object] = op.Size, op.Thread
			c.PeakObjects, c.PeakBytes = max(c.PeakObjects, objects), max(c.PeakBytes, bytes)
		case 'f':
			c.Free++
			objects--
			bytes -= sizes[op.Object]
			if owners[op.Object] != op.Thread {
				c.CrossFrees++
			}
		}
	}
	c.Ops, c.Threads, c.LiveAtEnd, c.DistinctSizes = len(t.Ops), t.Threads, objects, len(distinct)
	return c
}

// left returns the size of each object after the last of its operations.
func (t *Trace) left() []int {
	sizes := make([]int, t.Objects)
	for _, op := range t.Ops {
		if op.Code != 'x' {
			sizes[op.Object] = op.Size
		}
	}
	return sizes
}

// byThread returns the operations of each thread, in order.
func (t *Trace) byThread() [][]Op {
	all := make([][]Op, t.Threads)
	for _, op := range t.Ops {
		all[op.Thread] = append(all[op.Thread], op)
	}
	return slices.DeleteFunc(all, func(ops []Op) bool { return len(ops) == 0 })
}
