package arena

import (
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
)

// Writer gathers bytes in an arena. It is an io.Writer, io.StringWriter and io.ByteWriter. NewWriter makes one;
// using the zero Writer, or nil, is a *guard.Violation, except for Len. It is for one goroutine at a time, and must
// not be copied.
//
// The bytes grow in place while nothing else is allocated, and are copied to a larger place otherwise, as with
// Append. They are freed by the arena's Reset, and by Rewind to a Mark that was taken before the bytes last grew.
// Afterwards all methods but Len and Reset are a *guard.Violation.
type Writer struct {
	_     nocopy.NoCopy
	arena *Arena
	bytes []byte
	end   Mark // the end of the capacity of bytes; its epoch is the last one in which that memory was valid
}

// NewWriter returns a Writer without any bytes. It takes no memory of the arena before the first Write.
func NewWriter(a *Arena) *Writer {
	a.usable("NewWriter")
	return &Writer{arena: a}
}

// usable panics if the bytes were freed.
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

// valid tells whether the memory of the bytes is still there.
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

// append appends all bytes of p or, with an error, none.
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

// Write appends p and returns its length. If the arena is full Write appends nothing, and the error wraps
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

// Bytes returns the bytes that were written; nil if there are none. The slice lies in the arena. It has no
// capacity to spare, so appending to it changes nothing that is written later.
func (w *Writer) Bytes() []byte {
	w.usable("Bytes")
	return w.bytes[:len(w.bytes):len(w.bytes)]
}

// String returns the bytes that were written as a string in the arena, without a copy.
func (w *Writer) String() string {
	w.usable("String")
	return unsafe.String(unsafe.SliceData(w.bytes), len(w.bytes))
}

// Len returns the number of bytes that were written. It is 0 for a zero or nil Writer.
func (w *Writer) Len() int {
	if w == nil {
		return 0
	}
	return len(w.bytes)
}

// Reset begins a new text behind the present one: Bytes, String and Len are empty then. Results of earlier calls of
// Bytes and String stay valid. Reset may be called after the arena was reset, too.
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
