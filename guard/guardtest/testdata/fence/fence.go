//go:build amd64 || arm64

// Package fence has code that goes too far.
package fence

import "unsafe"

// sum adds up n bytes.
//
//go:noescape
func sum(p *byte, n int) (total int)

var sink byte

func read(b []byte, at int) { sink = *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)) }

func write(b []byte, at int) { *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)) = 7 }
