//go:build !cgo || !linux

package main

import "github.com/seed-9a6c551e/offheap/internal/workload"

// There are neither threads of C nor calls of it to compare with.
var (
	pthreads func(n, size int, progress workload.Progress) (*workload.StackFigures, error)
	cgoCall  func(n int)
)
