// Program copied is vetted by a test: every copy in it must be reported.
package main

import "github.com/seed-9a6c551e/offheap/table"

func main() {
	var m table.Map[int, int]
	var s table.Strings[int]
	var c table.Concurrent[int, int]
	copiedMap := m
	copiedStrings := s
	copiedConcurrent := c
	println(&copiedMap, &copiedStrings, &copiedConcurrent)
}
