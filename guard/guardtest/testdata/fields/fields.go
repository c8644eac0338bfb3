// Package fields is a small parser with a mistake in it, to be found by a fuzzer.
package fields

import "unsafe"

// Count returns the number of fields of a line. Spaces separate them.
func Count(line []byte) (n int) {
	if len(line) == 0 {
		return 0
	}
	p := unsafe.Pointer(unsafe.SliceData(line))
	end := uintptr(p) + uintptr(len(line))
	for uintptr(p) < end {
		for *(*byte)(p) == ' ' {
			p = unsafe.Add(p, 1) // the mistake: p may point behind the end now
		}
		if uintptr(p) >= end {
			break
		}
		n++
		for uintptr(p) < end && *(*byte)(p) != ' ' {
			p = unsafe.Add(p, 1)
		}
	}
	return n
}
