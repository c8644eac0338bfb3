// Package trace reads recorded traces of an allocator and replays them through a slab.Heap or the Go heap.
//
//	file ── Read ──▶ Trace ── Replay.Run ──▶ Replayed
//
// The life of a trace:
//
//  1. Read parses and checks all lines of a file. A line that makes no sense is an error with its number.
//  2. Run opens the allocator, starts the clock and runs all operations: on one goroutine in the order of
//     the trace, or on one for each of its threads, where the operations on one object keep their order.
//  3. Run stops the clock, checks and frees the objects that are still live, and closes the allocator.
//
// A Trace may be replayed by any number of goroutines at once; the figures are the whole process's.
package trace

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Trace has the calls of a program to its allocator, in the order in which they were recorded.
type Trace struct {
	Ops     []Op
	Objects int // number of objects; Op.Object is below it
	Threads int // number of threads; Op.Thread is below it
}

// Op is one call: a line of a trace.
type Op struct {
	Code   byte   // 'm' malloc, 'c' calloc, 'r' realloc, 'f' free; 'x' a thread ended
	Thread uint32 // from 0 on, in the order in which they appear
	Object uint32 // from 0 on, likewise; each object has its own
	Turn   uint32 // position among the operations on the object, from 0 on
	Size   int
	Was    int // the object's size before the call, if the call resizes or frees it
	Align  int // 0 for the default
}

// zeroed tells whether the operation is an allocation whose memory must read zero: a calloc, or with an
// alignment, where the C allocators' side zeroes, too.
func (op *Op) zeroed() bool { return op.Code == 'c' || op.Align > 0 }

// header is the first line of a trace. It may be missing.
const header = "op,thread,id,size,align"

// Read reads lines of op,thread,id,size,align, compressed by gzip or not. An error for a line has its
// number and the reason. A trace without lines is an error.
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
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || n == 1 && line == header {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d is too long for a trace, want %s", n, header)
	case err != nil:
		return nil, err
	case len(p.trace.Ops) == 0:
		return nil, errors.New("there is no line of " + header)
	}
	p.trace.Objects, p.trace.Threads = len(p.objects), len(p.threads)
	return &p.trace, nil
}

// parser checks the lines of a trace and numbers its threads and objects.
type parser struct {
	trace   Trace
	threads map[uint64]uint32
	objects map[uint64]*object
}

// object is the state of an object after the lines read so far.
type object struct {
	number, turns uint32
	size          int
	freed         bool
}

// line parses one line.
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
	if v[3] > 1<<30 {
		return fmt.Errorf("alignment %d is above 1 GiB", v[3])
	}
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

// left returns the size of each object at its last operation.
func (t *Trace) left() []int {
	sizes := make([]int, t.Objects)
	for _, op := range t.Ops {
		if op.Code != 'x' {
			sizes[op.Object] = op.Size
		}
	}
	return sizes
}

// byThread returns the operations of each thread, in order. Threads without operations are left out.
func (t *Trace) byThread() [][]Op {
	all := make([][]Op, t.Threads)
	for _, op := range t.Ops {
		all[op.Thread] = append(all[op.Thread], op)
	}
	return slices.DeleteFunc(all, func(ops []Op) bool { return len(ops) == 0 })
}
