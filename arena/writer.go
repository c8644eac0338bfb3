package arena

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
)

// Writer gathers bytes in an arena: an io.Writer, io.StringWriter and io.ByteWriter. NewWriter makes
// one; using the zero Writer is a *guard.Violation. It is for one goroutine at a time, and must not be
// copied.
//
// While nothing else is allocated the bytes grow in place, as those of Append do. Reset, and Rewind to
// a Mark that was taken before the last growth, free what was written: after that all methods but Len
// panic with a *guard.Violation.
type Writer struct {
	_     nocopy.NoCopy
	arena *Arena
	bytes []byte
	end   Mark // where the memory of bytes ends; its epoch is the last one in which that was there
}

// NewWriter returns a Writer that has written nothing, and took nothing of the arena.
func NewWriter(a *Arena) *Writer {
	a.usable("NewWriter")
	return &Writer{arena: a}
}

// usable panics where the bytes are gone.
func (w *Writer) usable(op string) {
	if w == nil || w.arena == nil {
		panic(zeroValue("Writer."+op, "arena.NewWriter makes a Writer"))
	}
	a := w.arena
	a.usable("Writer." + op)
	if !w.valid() {
		panic(a.violation("Writer."+op, guard.UseAfterReset, "the arena freed the text"))
	}
}

// valid tells whether the memory of the bytes was not freed.
func (w *Writer) valid() bool {
	a := w.arena
	if cap(w.bytes) > 0 && w.end.epoch != a.epoch {
		if w.end.off > a.top || a.rewinds.stale(w.end) {
			return false
		}
		w.end.epoch = a.epoch
	}
	return true
}

// append appends to the bytes, all or nothing.
func (w *Writer) append(op string, p []byte) error {
	w.usable(op)
	if len(p) <= cap(w.bytes)-len(w.bytes) {
		w.bytes = append(w.bytes, p...)
		return nil
	}
	grown, err := TryAppend(w.arena, w.bytes, p...)
	if err != nil {
		return err
	}
	w.bytes = grown
	w.end = Mark{arena: w.arena, epoch: w.arena.epoch, off: w.arena.top} // callbacks do not matter to stale: none
	return nil
}

// Write appends p, and returns its length. If the arena is full it writes nothing, and the error wraps
// guard.ErrNoMemory.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.append("Write", p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write for a string.
func (w *Writer) WriteString(s string) (int, error) {
	if err := w.append("WriteString", unsafe.Slice(unsafe.StringData(s), len(s))); err != nil {
		return 0, err
	}
	return len(s), nil
}

// WriteByte is Write for one byte.
func (w *Writer) WriteByte(c byte) error { return w.append("WriteByte", []byte{c}) }

// Bytes returns what was written; nil if that is nothing. The slice lives in the arena, and has no
// capacity to spare: later writes do not change it.
func (w *Writer) Bytes() []byte {
	w.usable("Bytes")
	return w.bytes[:len(w.bytes):len(w.bytes)]
}

// String returns what was written as a string, without a copy. It lives in the arena.
func (w *Writer) String() string {
	w.usable("String")
	return unsafe.String(unsafe.SliceData(w.bytes), len(w.bytes))
}

// Len returns how many bytes were written; 0 for the zero Writer.
func (w *Writer) Len() int {
	if w == nil {
		return 0
	}
	return len(w.bytes)
}

// Reset forgets what was written, so that the next Write begins a new text behind it. What Bytes and
// String returned stays as it is. Reset may be called after the arena was reset, too.
func (w *Writer) Reset() {
	if w == nil || w.arena == nil {
		panic(zeroValue("Writer.Reset", "arena.NewWriter makes a Writer"))
	}
	w.arena.usable("Writer.Reset")
	if w.valid() {
		w.bytes = w.bytes[len(w.bytes):]
	} else {
		w.bytes = nil
	}
}
