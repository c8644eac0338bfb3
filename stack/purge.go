package stack

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/percpu"
)

// lookEvery is the number of Puts in a row without deep use after which Put looks how deep native code went,
// and gives back the memory of an earlier deep use.
const lookEvery = 8

// reset frees everything on a stack that is being put. Every lookEvery Puts it trims the stack, unless the
// stack was used deeply this time.
func (p *Pool) reset(s *Stack) {
	end := p.end(s)
	if s.head.Top != end {
		s.freeTo(end)
	}
	if end-s.lowest > p.deepLimit {
		s.head.Rounds = 0
		s.noteDepth(end, end-s.lowest)
		return
	}
	if s.head.Rounds++; s.head.Rounds < lookEvery {
		return
	}
	s.head.Rounds = 0
	p.trim(s)
}

// needsTrim reports whether trim would do anything for an idle stack.
func (p *Pool) needsTrim(i uint32) bool {
	s := p.stack(uintptr(i))
	return s.head.Native || s.held != 0
}

// trim gives back the RAM of an idle stack beyond Config.Retain, if the stack was used deeply.
func (p *Pool) trim(s *Stack) {
	p.noteNativeDepth(s)
	if s.held != 0 {
		_ = p.discard(s, uintptr(p.config.Retain)) // a later trim tries again
	}
}

// noteDepth records that a stack was used depth bytes deep, and starts anew to look for the lowest top.
func (s *Stack) noteDepth(end, depth uintptr) {
	s.deepest = max(s.deepest, uint32(depth))
	s.held = max(s.held, uint32(depth))
	s.lowest = end
}

// noteNativeDepth records how deep native code went on an idle stack, if any ran. The deepest OS page in RAM
// tells: the code touched it, or an earlier user did.
func (p *Pool) noteNativeDepth(s *Stack) {
	if !s.head.Native {
		return
	}
	s.head.Native = false
	end := p.end(s)
	in, ok := p.resident(s)
	if !ok { // the whole stack may be in RAM
		s.held = uint32(p.size)
		return
	}
	s.lowest = min(s.lowest, end-in)
	if depth := end - s.lowest; depth > p.deepLimit {
		s.noteDepth(end, depth)
	}
}

// discard gives back the RAM of an idle stack, except for the keep bytes below its end. If the kernel
// refuses, the next trim or Purge tries again.
func (p *Pool) discard(s *Stack, keep uintptr) (err error) {
	if err = p.region.Discard(int(p.offset(s)), int(p.size-keep)); err == nil {
		s.held = 0
		s.lowest = min(s.lowest, p.end(s)-keep) // so many bytes may be in RAM
	}
	return err
}

// Purge gives back the RAM of all idle stacks. It also decommits the idle stacks at higher addresses than
// the last stack in use, which refunds the budget for them. Purge stops the world for some microseconds,
// to empty the caches of processors.
//
// The error is the kernel's, given once for all stacks that fail in the same way; these stacks stay idle
// and keep their memory. After Close it wraps guard.ErrClosed.
func (p *Pool) Purge() error {
	p.usable("Purge")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateOpen {
		return fmt.Errorf("stack: purge pool %q: %w", p.name, guard.ErrClosed)
	}
	percpu.Drain(p.drain, &p.caches)
	slices.Sort(p.idle)
	// Idle stacks behind the last stack in use are decommitted, which refunds the budget. Idle stacks
	// between others stay committed: to decommit them would split the mapping.
	next, n := p.initialized.Load()/stackSize, len(p.idle)
	for n > 0 && uintptr(p.idle[n-1]) == next-1 {
		next--
		n--
	}
	for _, i := range p.idle {
		s := p.stack(uintptr(i))
		p.noteNativeDepth(s) // before the memory is given back
		s.noteDepth(p.end(s), p.end(s)-s.lowest)
	}
	var failed failures
	if err := p.region.Decommit(int(p.firstGuard+next*p.stride), int((p.committed-next)*p.stride)); err != nil {
		failed.errs = append(failed.errs, err)
	} else {
		for _, i := range p.idle[n:] {
			s := p.stack(uintptr(i))
			s.held = 0
			p.deepest = max(p.deepest, int(s.deepest))
		}
		p.idle = p.idle[:n]
		p.committed = next
		p.initialized.Store(next * stackSize)
		p.area.Grow(next * p.stride)
	}
	for _, i := range p.idle {
		s := p.stack(uintptr(i))
		if s.held == 0 {
			continue // nothing in RAM
		}
		if err := p.discard(s, 0); err != nil {
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

// failures collects the errors of many stacks. Errors with the same text are kept once, with a count.
type failures struct {
	errs  []error // reported as they are
	alike []countedError
}

// countedError is an error and the number of stacks that had it.
type countedError struct {
	err    error
	text   string
	stacks int
}

// add adds the error of one stack.
func (f *failures) add(err error) {
	text := err.Error()
	for i := range f.alike {
		if f.alike[i].text == text {
			f.alike[i].stacks++
			return
		}
	}
	f.alike = append(f.alike, countedError{err, text, 1})
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

// Close ends the pool: Get hands out no stack any more. Close closes the region if no stack is in use;
// else the Put of the last one does. Stats().InUse counts the stacks that keep the region open. A stack
// that was dropped without Put keeps it open for ever.
//
// A second Close returns an error that wraps guard.ErrClosed. If the kernel refuses to close the region,
// Close returns its error, and may be called again.
func (p *Pool) Close() error {
	p.usable("Close")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed || p.state == stateClosing && !p.allIdle() {
		return fmt.Errorf("stack: close pool %q: %w", p.name, guard.ErrClosed)
	}
	p.state = stateClosing
	percpu.Close(p.drain, &p.caches)
	return p.endIfIdle()
}

// allIdle reports whether no stack is in use and none is in a cache. Caller holds p.mu.
func (p *Pool) allIdle() bool { return uintptr(len(p.idle)) == p.initialized.Load()/stackSize }

// endIfIdle closes the region of a closing pool if no stack is in use. Caller holds p.mu.
func (p *Pool) endIfIdle() error {
	if p.state != stateClosing || !p.allIdle() {
		return nil
	}
	p.deepest = max(p.deepest, p.highWater())
	p.area.Hide()
	initialized := p.initialized.Swap(0)
	if err := p.region.Close(); err != nil {
		p.initialized.Store(initialized)
		p.area.Grow(p.committed * p.stride)
		return fmt.Errorf("stack: %w", err)
	}
	p.area.Forget()
	unregister(p.number)
	p.state = stateClosed
	p.idle = nil
	return nil
}
