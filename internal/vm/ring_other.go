//go:build unix && !linux && !aix

package vm

import (
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	WordThread  uint32 = 1<<30 - 1
	WordDied    uint32 = 1 << 30
	WordWatched uint32 = 1 << 31

	MaxWaitWords = 128
	MaxRobust    = 1024
)

type WaitWord struct{}

type (
	RobustList  struct{}
	RobustEntry struct{}
)

func WaitWhile(*atomic.Uint32, uint32, bool) WaitWord  { return WaitWord{} }
func WaitAny([]WaitWord) error                         { return ErrUnsupported }
func Wait(*atomic.Uint32, uint32, time.Duration) error { return ErrUnsupported }
func Wake(*atomic.Uint32, int, bool)                   {}
func (*RobustList) Begin(uintptr)                      {}
func (*RobustList) Add(_ *RobustEntry, word *atomic.Uint32) (taken bool) {
	return !word.CompareAndSwap(0, WordWatched)
}
func (*RobustList) Remove(*RobustEntry)                      {}
func (*RobustList) End()                                     {}
func MapAgain(unsafe.Pointer, unsafe.Pointer, uintptr) error { return ErrUnsupported }
func Processor() int                                         { return -1 }
