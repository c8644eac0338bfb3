package region

import (
	"slices"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// span is a stretch [off, end) of a region, in bytes from its base. prot is the protection that was asked for it. tag
// tells it from stretches that it must not be joined with: in record.committed the number of its anon_vma, in
// record.hints the set of hints.
type span struct {
	off, end uintptr
	prot     vm.Prot
	tag      uint32
}

func (s span) joins(t span) bool { return s.end == t.off && s.prot == t.prot && s.tag == t.tag }

// spans is a set of stretches. Invariant: sorted, not empty, not overlapping,
// and neighbours that touch differ in protection or tag.
//
// A region has one or two of them in nearly all uses, so a sorted slice beats
// a bitmap (2 MiB for 64 GiB) and a tree.
type spans []span

// set adds a stretch to the set, in the place of all that overlaps it.
func (s spans) set(x span) spans {
	i, out := s.cut(x.off, x.end)
	out = slices.Insert(out, i, x)
	if i+1 < len(out) && x.joins(out[i+1]) {
		out[i].end = out[i+1].end
		out = slices.Delete(out, i+1, i+2)
	}
	if i > 0 && out[i-1].joins(out[i]) {
		out[i-1].end = out[i].end
		out = slices.Delete(out, i, i+1)
	}
	return out
}

// setAll adds stretches to the set.
func (s spans) setAll(parts spans) spans {
	for _, x := range parts {
		s = s.set(x)
	}
	return s
}

// removeAll removes stretches from the set.
func (s spans) removeAll(parts spans) spans {
	for _, x := range parts {
		s = s.remove(x.off, x.end)
	}
	return s
}

// remove removes [off, end) from the set.
func (s spans) remove(off, end uintptr) spans {
	_, out := s.cut(off, end)
	return out
}

// cut removes [off, end), and returns the index at which a span that starts at off belongs.
func (s spans) cut(off, end uintptr) (int, spans) {
	i := s.find(off)
	j := i
	var keep []span
	for ; j < len(s) && s[j].off < end; j++ {
		if s[j].off < off {
			keep = append(keep, span{s[j].off, off, s[j].prot, s[j].tag})
		}
		if s[j].end > end {
			keep = append(keep, span{end, s[j].end, s[j].prot, s[j].tag})
		}
	}
	out := slices.Replace(s, i, j, keep...)
	if len(keep) > 0 && keep[0].off < off {
		i++
	}
	return i, out
}

// find returns the index of the first span that ends beyond off. The signal handler calls it, and at.
//
//go:nosplit
//go:noinline
//go:norace
func (s spans) find(off uintptr) int {
	lo, hi := 0, len(s) // spans below lo end at off or before, those from hi on beyond it
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); s[mid].end <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at returns the span that holds off.
//
//go:nosplit
//go:noinline
//go:norace
func (s spans) at(off uintptr) (span, bool) {
	if i := s.find(off); i < len(s) && s[i].off <= off {
		return s[i], true
	}
	return span{}, false
}

// inside returns the parts of the set in [off, end), in order.
func (s spans) inside(off, end uintptr) (parts spans) {
	for i := s.find(off); i < len(s) && s[i].off < end; i++ {
		parts = append(parts, span{max(s[i].off, off), min(s[i].end, end), s[i].prot, s[i].tag})
	}
	return parts
}

// outside returns the parts of [off, end) that are not in the set, in order.
func (s spans) outside(off, end uintptr) (gaps spans) {
	for _, part := range s.inside(off, end) {
		if part.off > off {
			gaps = append(gaps, span{off: off, end: part.off})
		}
		off = part.end
	}
	if off < end {
		gaps = append(gaps, span{off: off, end: end})
	}
	return gaps
}

// covers tells whether all of [off, end) is in the set.
func (s spans) covers(off, end uintptr) bool { return s.bytes(off, end) == end-off }

// all tells whether all of [off, end) is in the set, with one protection.
func (s spans) all(off, end uintptr, prot vm.Prot) bool {
	for _, part := range s.inside(off, end) {
		if part.prot != prot {
			return false
		}
	}
	return s.covers(off, end)
}

// bytes returns how many bytes of [off, end) are in the set.
func (s spans) bytes(off, end uintptr) (n uintptr) {
	for _, part := range s.inside(off, end) {
		n += part.end - part.off
	}
	return n
}
