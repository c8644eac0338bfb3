package region

import "slices"

// saveBooks notes what the books have for [lo, hi), and returns a function that puts it back. It is for changes that
// the kernel may refuse. Guards and what is unlocked for them are not among it.
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

// changeBooks changes the books of [lo, hi), and takes the mappings that this needs. If it needs too many
// it changes the books back.
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

// correctBooks changes the books of [lo, hi), however many mappings that needs: the kernel has them.
func (rec *record) correctBooks(lo, hi uintptr, change func()) {
	before := rec.countBoundaries(lo, hi)
	change()
	n := rec.countBoundaries(lo, hi) - before
	mappings.Add(int64(n))
	rec.mappings += n
}
