//go:build amd64 || arm64

package fence

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/guard/guardtest"
)

var data = []byte("some data")

func TestReadBehind(t *testing.T)  { read(guardtest.Fence(t, data), 9); t.Error("went on") }
func TestWriteBehind(t *testing.T) { write(guardtest.Fence(t, data), 10); t.Error("went on") }
func TestReadBefore(t *testing.T)  { read(guardtest.FenceStart(t, data), -1); t.Error("went on") }
func TestWriteBefore(t *testing.T) { write(guardtest.FenceStart(t, data), -2); t.Error("went on") }
func TestReadOnly(t *testing.T)    { write(guardtest.FenceReadOnly(t, data), 3); t.Error("went on") }
func TestEmptyBehind(t *testing.T) { read(guardtest.Fence(t, nil), 0); t.Error("went on") }
func TestEmptyBefore(t *testing.T) { read(guardtest.FenceStart(t, nil), -1); t.Error("went on") }
func TestLarge(t *testing.T) {
	read(guardtest.Fence(t, make([]byte, 100000)), 100000)
	t.Error("went on")
}
func TestLargeStart(t *testing.T) {
	read(guardtest.FenceStart(t, make([]byte, 100000)), -1)
	t.Error("went on")
}
func TestCanaryBefore(t *testing.T) { write(guardtest.Fence(t, data), -1) }
func TestCanaryBehind(t *testing.T) { write(guardtest.FenceStart(t, data), 9) }
func TestCanaryGap(t *testing.T)    { write(guardtest.FenceAligned(t, data, 16), 15) }

func TestAssembly(t *testing.T) {
	b := guardtest.Fence(t, data)
	if got := sum(unsafe.SliceData(b), 9); got != 878 {
		t.Error("sum is", got)
	}
	sum(unsafe.SliceData(b), 10)
	t.Error("went on")
}

func TestRecovered(t *testing.T) {
	func() {
		defer func() { _ = recover() }()
		read(guardtest.Fence(t, data), 9)
	}()
	t.Log("went on")
}

func TestAgain(t *testing.T) {
	defer func() {
		panic(fmt.Sprint("again: ", recover()))
	}()
	read(guardtest.Fence(t, data), 9)
}

func TestSub(t *testing.T) {
	b := guardtest.Fence(t, data)
	t.Run("inner", func(t *testing.T) { read(guardtest.Fence(t, b[:4]), 4) })
	t.Log("outer went on")
}

func TestFine(t *testing.T) {
	for n := range 300 {
		for _, b := range [][]byte{guardtest.Fence(t, make([]byte, n)), guardtest.FenceStart(t, make([]byte, n)), guardtest.FenceAligned(t, make([]byte, n), 64)} {
			for i := range b {
				b[i]++
			}
		}
	}
}

// What follows ends the program.

func TestOtherPanic(t *testing.T) {
	func() {
		defer func() { _ = recover() }()
		read(guardtest.Fence(t, data), 9)
	}()
	panic("another")
}

func TestGoroutine(t *testing.T) {
	b := guardtest.Fence(t, data)
	done := make(chan bool)
	go func() {
		defer close(done)
		read(b, 9)
	}()
	<-done
}
