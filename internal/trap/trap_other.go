//go:build !linux || !(amd64 || arm64)

package trap

import "errors"

func publish(a *Area) { areas = a }

func install() error { return errors.ErrUnsupported }

// Call is never reached: see Install.
func Call(b *Block, fn, sp uintptr, args *[6]uintptr) (uintptr, Stop) { panic(errors.ErrUnsupported) }

// CallF is never reached: see Install.
func CallF(b *Block, fn, sp uintptr, args *[8]float64) (float64, Stop) { panic(errors.ErrUnsupported) }

// FindReports is never reached: see Install.
func FindReports(*Finder) error { return errors.ErrUnsupported }

// Take takes the latch, for handlers: there are none.
func (l *Latch) Take() bool { return false }

// Drop gives the latch back, for handlers.
func (l *Latch) Drop() {}
