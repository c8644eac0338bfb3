package region

import "slices"

// saveBooks returns a function that puts back what the books have now for [lo, hi), all of it but guards and unlocked.
// It is for changes that the kernel may refuse. Caller holds rec.mu.
func (rec *record) saveBooks(lo, hi uintptr) (restore func()) {
	committed, locked, files, hints := rec.committed.inside(lo, hi), rec.locked.inside(lo, hi), rec.files.inside(lo, hi), rec.hints.inside(lo, hi)
	fixed := slices.Clone(rec.fixed)
	return func() {
		rec.committed = rec.committed.remove(lo, hi).setAll(committed)
		rec.locked = rec.locked.remove(lo, hi).setAll(locked)
		rec.files = rec.files.remove(lo, hi).setAll(files)
		rec.hints = rec.hints.remove(lo, hi).setAll(hints)
		rec.fixed = fixed
	}
}

// changeBooks calls change, which changes the books of [lo, hi), and takes the mappings that this needs. If there are
// too few, it calls back, which undoes change, and returns an error. Caller holds rec.mu.
func (rec *record) changeBooks(lo, hi uintptr, change, back func()) error {
	before := rec.countBoundaries(lo, hi)
	change()
	n := rec.countBoundaries(lo, hi) - before
	if err := takeMappings(n); err != nil {
		back()
		return err
	}
	rec.mappings += n
	return nil
}

// correctBooks calls change to make the books of [lo, hi) say what the kernel has, however many mappings that needs.
// Caller holds rec.mu.
func (rec *record) correctBooks(lo, hi uintptr, change func()) {
	before := rec.countBoundaries(lo, hi)
	change()
	n := rec.countBoundaries(lo, hi) - before
	mappings.Add(int64(n))
	rec.mappings += n
}
