// Program copied is vetted by a test: every copy in it must be reported.
package main

import "github.com/seed-9a6c551e/offheap/arena"

func main() {
	var a arena.Arena
	var k arena.Concurrent
	var p arena.Pool
	var w arena.Writer
	copied1 := a
	copied2 := k
	copied3 := p
	copied4 := w
	println(&copied1, &copied2, &copied3, &copied4)
}
