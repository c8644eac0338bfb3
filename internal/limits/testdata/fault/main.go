// Command fault ends by a fault that nobody catches: of a fence or of a sampled object, as its argument
// says.
package main

import (
	"log"
	"os"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/slab"
)

// tb is a test that does not end.
type tb struct{}

func (tb) Helper()                        {}
func (tb) Cleanup(func())                 {}
func (tb) Name() string                   { return "fault" }
func (tb) Errorf(string, ...any)          {}
func (tb) Fatalf(format string, a ...any) { log.Fatalf(format, a...) }
func (tb) FailNow()                       { os.Exit(1) }

var sink byte

func main() {
	var p *byte
	switch os.Args[1] {
	case "fence":
		b := guard.Fence(tb{}, make([]byte, 9))
		p = (*byte)(unsafe.Add(unsafe.Pointer(&b[0]), len(b)))
	case "sampled":
		guard.Sample(1)
		h, err := slab.Open(slab.Config{})
		if err != nil {
			log.Fatal(err)
		}
		b := h.Alloc(100)
		p = &b[42]
		h.Free(b)
	}
	done := make(chan bool) // Fence has this goroutine panic on faults, and panics are not reported
	go func() {
		sink = *p
		done <- true
	}()
	<-done
}
