package misuse

import (
	"errors"
	"math"
	"os"

	"github.com/seed-9a6c551e/offheap/guard"
)

var regionMisuse = []misuse{
	{"touch below the region", func(w *world) { poke(w.region(1<<16).Bytes(), -1) },
		plainly(`fault: guard: underflow in region "region": address 0xADDR, 1 bytes before the first of 65536`)},
	{"touch behind the region", func(w *world) { peek(w.region(1<<16).Bytes(), 1<<16) },
		plainly(`fault: guard: overflow in region "region": address 0xADDR, 1 bytes beyond the last of 65536`)},
	{"touch after Close", func(w *world) { r := w.region(1 << 16); b := r.Bytes(); w.must(r.Close()); peek(b, 100) },
		plainly(`fault: guard: use after close in region "region": address 0xADDR, offset 100 of 65536`)},
	{"touch after Decommit", func(w *world) { r := w.region(1 << 16); w.must(r.Decommit(0, 1<<15)); poke(r.Bytes(), 100) },
		plainly(`fault: guard: touch of decommitted memory in region "region": address 0xADDR, offset 100 of 65536`)},
	{"touch of a guard inside", func(w *world) { r := w.region(1 << 16); w.must(r.Guard(1<<14, 1<<14)); poke(r.Bytes(), 1<<14) },
		plainly(`fault: guard: touch of a guard in region "region": address 0xADDR, offset 16384 of 65536`)},
	{"write to what may be read", func(w *world) { r := w.region(1 << 16); w.must(r.Protect(0, 1<<16, guard.Read)); poke(r.Bytes(), 1) },
		plainly(`fault: guard: access refused by protection in region "region": address 0xADDR, offset 1 of 65536`)},
	{"touch beyond the end of a file", func(w *world) {
		f, err := os.CreateTemp("", "offheap")
		w.must(err)
		w.then(func() error { return errors.Join(f.Close(), os.Remove(f.Name())) })
		w.must(f.Truncate(1 << 16))
		r, err := guard.MapFile(f, guard.FileConfig{Name: "region"})
		w.must(err)
		w.then(r.Close)
		w.must(f.Truncate(0))
		peek(r.Bytes(), 1)
	}, plainly(`fault: guard: touch beyond the end of its file in region "region": address 0xADDR, offset 1 of 65536`)},
	{"touch on another goroutine", func(w *world) { elsewhere(func() { poke(w.region(1<<16).Bytes(), -1) }) },
		plainly(`fault: guard: underflow in region "region": address 0xADDR, 1 bytes before the first of 65536`)},
	{"Close twice", func(w *world) { r := w.region(1 << 16); w.must(r.Close()); w.must(r.Close()) }, plainly(`error: guard: close region "region": closed`)},
	{"Commit after Close", func(w *world) { r := w.region(1 << 16); w.must(r.Close()); w.must(r.Commit(0, 1<<16)) }, plainly(`error: guard: commit region "region": closed`)},
	{"Decommit after Close", func(w *world) { r := w.region(1 << 16); w.must(r.Close()); w.must(r.Decommit(0, 1<<16)) }, plainly(`error: guard: decommit region "region": closed`)},
	{"Commit beyond the end", func(w *world) { w.must(w.region(1<<16).Commit(1<<15, 1<<16)) },
		plainly(`error: guard: commit region "region": offset 32768 and length 65536 are not inside its 65536 bytes`)},
	{"Commit of a part of an OS page", func(w *world) { w.must(w.region(1<<16).Commit(0, 100)) },
		plainly(`error: guard: commit region "region": offset 0 and length 100 must be multiples of the OS page of # bytes`)},
	{"Protect of what is not committed", func(w *world) {
		r := w.region(1 << 16)
		w.must(r.Decommit(0, 1<<16))
		w.must(r.Protect(0, 1<<16, guard.Read))
	}, plainly(`error: guard: protect region "region": not all of it is committed`)},
	{"region of no bytes", func(w *world) {
		_, err := guard.Reserve(guard.Config{Name: "region"})
		w.must(err)
	}, plainly(`error: guard: reserve "region": size 0 must be positive`)},
	{"region of too many bytes", func(w *world) {
		_, err := guard.Reserve(guard.Config{Name: "region", Size: math.MaxInt})
		w.must(err)
	}, plainly(`error: guard: reserve "region": 9223372036854775807 bytes are more than addresses can hold: no memory`)},
	{"fault of nobody's", func(w *world) { var x *uint64; *x = 1 }, plainly("panic: runtime error: invalid memory address or nil pointer dereference")},
	{"first and last byte", func(w *world) { b := w.region(1 << 16).Bytes(); b[0], b[len(b)-1] = 1, 1 }, plainly(fine)},
}
