// Command fault ends by a fault that nobody catches: of a fence, of a sampled object, of a region, or in a hardened heap,
// as its argument says.
package main

import (
	"log"
	"os"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/guard/guardtest"
	"github.com/seed-9a6c551e/offheap/slab"
)

// tb is a test that does not end.
type tb struct{ testing.TB }

func (tb) Helper()                        {}
func (tb) Cleanup(func())                 {}
func (tb) Fatalf(format string, a ...any) { log.Fatalf(format, a...) }

var sink byte

func main() {
	var p *byte
	switch os.Args[1] {
	case "fence":
		b := guardtest.Fence(tb{}, make([]byte, 9))
		p = (*byte)(unsafe.Add(unsafe.Pointer(&b[0]), len(b)))
	case "sampled":
		slab.SetSampling(slab.Sampling{Every: 1})
		h, err := slab.Open(slab.Config{})
		if err != nil {
			log.Fatal(err)
		}
		b := h.Alloc(100, 1)
		p = &b[42]
		h.Free(b)
	case "region":
		r, err := guard.Reserve(guard.Config{Size: 1 << 20})
		if err == nil {
			err = guard.ReportFaults()
		}
		if err != nil {
			log.Fatal(err)
		}
		p = (*byte)(unsafe.Add(r.Base(), 300))
	case "hardened":
		h, err := slab.Open(slab.Config{Hardened: true})
		if err != nil {
			log.Fatal(err)
		}
		b := h.Alloc(2<<20, 1)
		p = (*byte)(unsafe.Add(unsafe.Pointer(&b[0]), len(b)))
	}
	done := make(chan bool) // Fence has this goroutine panic on faults, and panics are not reported
	go func() {
		sink = *p
		done <- true
	}()
	<-done
}
