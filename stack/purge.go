package stack

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// patience is after how many Puts a stack is looked at that native code ran on, and cut back if it
// was deep once, but not in any of these rounds.
const patience = 8

// tidy takes back what is on a stack that is being put, and sees to what it has in RAM.
func (p *Pool) tidy(s *Stack) {
	end := p.end(s)
	if s.head.Top != end {
		s.free(end)
	}
	if end-s.lowest > p.slack {
		s.head.Rounds = 0
		s.settle(end, end-s.lowest)
		return
	}
	if s.head.Rounds++; s.head.Rounds < patience {
		return
	}
	s.head.Rounds = 0
	p.trim(s)
}

// trim gives back what an idle stack should not keep.
func (p *Pool) trim(s *Stack) {
	p.look(s)
	if s.held != 0 {
		_ = p.cut(s, uintptr(p.config.Retain)) // tried again
	}
}

// settle notes how deep a stack went.
func (s *Stack) settle(end, depth uintptr) {
	s.deepest = max(s.deepest, uint32(depth))
	s.held = max(s.held, uint32(depth))
	s.lowest = end
}

// look finds how deep native code went, as far as that is in RAM.
func (p *Pool) look(s *Stack) {
	if !s.head.Native {
		return
	}
	s.head.Native = false
	end := p.end(s)
	in, ok := p.resident(s)
	if !ok { // all of it may be in RAM
		s.held = uint32(p.size)
		return
	}
	s.lowest = min(s.lowest, end-in)
	if depth := end - s.lowest; depth > p.slack {
		s.settle(end, depth)
	}
}

// cut gives back what an idle stack has in RAM beyond keep. What the kernel does not take now is
// tried again after the next Put, or by Purge.
func (p *Pool) cut(s *Stack, keep uintptr) (err error) {
	if err = p.region.Discard(int(p.offset(s)), int(p.size-keep)); err == nil {
		s.held = 0
		s.lowest = min(s.lowest, p.end(s)-keep) // that much may be in RAM
	}
	return err
}

// Purge gives back all memory of stacks that are idle. It stops the world for some microseconds, to
// take the stacks that processors hold. The error is the kernel's, told once for all stacks for which
// it is the same; what the kernel did not take stays idle.
func (p *Pool) Purge() error {
	p.usable("Purge")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != open {
		return fmt.Errorf("stack: purge pool %q: %w", p.name, guard.ErrClosed)
	}
	percpu.Drain(p.drain, &p.caches)
	slices.Sort(p.idle)
	// The last stacks, as far as they are idle, are decommitted: that refunds the budget. What is
	// idle between others is not, because it would split the mapping.
	fresh, n := p.fresh.Load()/stackSize, len(p.idle)
	for n > 0 && uintptr(p.idle[n-1]) == fresh-1 {
		fresh--
		n--
	}
	for _, i := range p.idle {
		s := p.stack(uintptr(i))
		p.look(s) // while there is something to see
		s.settle(p.end(s), p.end(s)-s.lowest)
	}
	var failed failures
	if err := p.region.Decommit(int(p.cells+fresh*p.stride), int((p.ready-fresh)*p.stride)); err != nil {
		failed.errs = append(failed.errs, err)
	} else {
		for _, i := range p.idle[n:] {
			s := p.stack(uintptr(i))
			s.held = 0
			p.deepest = max(p.deepest, int(s.deepest))
		}
		p.idle = p.idle[:n]
		p.ready = fresh
		p.fresh.Store(fresh * stackSize)
		p.area.Grow(fresh * p.stride)
	}
	for _, i := range p.idle {
		s := p.stack(uintptr(i))
		if s.held == 0 {
			continue // never used, or purged already
		}
		if err := p.cut(s, 0); err != nil {
			failed.add(err)
			continue
		}
		s.clean = uint32(p.size)
	}
	if err := failed.join(); err != nil {
		return fmt.Errorf("stack: purge pool %q: %w", p.name, err)
	}
	return nil
}

// failures collects errors of many stacks, of which nearly all are alike.
type failures struct {
	errs  []error
	alike []alike
}

// alike is an error, and for how many stacks it came.
type alike struct {
	err    error
	text   string
	stacks int
}

// add notes the error of one stack.
func (f *failures) add(err error) {
	text := err.Error()
	for i := range f.alike {
		if f.alike[i].text == text {
			f.alike[i].stacks++
			return
		}
	}
	f.alike = append(f.alike, alike{err, text, 1})
}

// join returns all errors as one, nil if there are none.
func (f *failures) join() error {
	errs := f.errs
	for _, a := range f.alike {
		if a.stacks > 1 {
			a.err = fmt.Errorf("for %d stacks: %w", a.stacks, a.err)
		}
		errs = append(errs, a.err)
	}
	return errors.Join(errs...)
}

// Close ends the pool: no stack is handed out any more, and when the last that is in use is put, or
// none is, the region is closed. Stats().InUse says how many keep it open: it stays open for ever if
// one of them was dropped without Put. A second Close is an error that wraps guard.ErrClosed, unless the
// kernel refused to close the region: then it tries again.
func (p *Pool) Close() error {
	p.usable("Close")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed || p.state == closing && !p.allIdle() {
		return fmt.Errorf("stack: close pool %q: %w", p.name, guard.ErrClosed)
	}
	p.state = closing
	percpu.Close(p.drain, &p.caches)
	return p.endIfIdle()
}

func (p *Pool) allIdle() bool { return uintptr(len(p.idle)) == p.fresh.Load()/stackSize }

// endIfIdle closes the region of a closed pool of which no stack is in use. p.mu is held.
func (p *Pool) endIfIdle() error {
	if p.state != closing || !p.allIdle() {
		return nil
	}
	p.deepest = max(p.deepest, p.highWater())
	p.area.Hide()
	fresh := p.fresh.Swap(0)
	if err := p.region.Close(); err != nil {
		p.fresh.Store(fresh)
		p.area.Grow(p.ready * p.stride)
		return fmt.Errorf("stack: %w", err)
	}
	p.area.Forget()
	leave(p.number)
	p.state = closed
	p.idle = nil
	return nil
}
