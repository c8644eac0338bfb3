//go:build !cgo || !linux

package stackbench

import (
	"errors"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// Cgo tells whether the command was built with cgo, so that there are threads of C and calls to it.
const Cgo = false

// Pthreads returns an error: only if Cgo are there threads of C.
func Pthreads(int, int, measure.Progress) (*Figures, error) { return nil, errors.ErrUnsupported }

func cgoCalls(int) {}
