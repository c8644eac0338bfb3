//go:build !amd64 && !386 && !s390x

package table

import "sync/atomic"

// loadFence orders the loads before it with atomic loads after it: a search must have read the table when it looks
// at the shard's counter again. An atomic load keeps only what follows behind it, so it is not enough. An atomic
// read-modify-write, of a word that nobody else knows, orders everything with everything, or at least what is before it
// with its store, and its store with atomic loads that follow. Both forms that Go has on arm64 do:
//
//	LDADDAL           a full barrier
//	LDAXR … STLXR     loads before ─▶ STLXR (release) ─▶ LDAR of the counter: a release is ordered with later acquires
func loadFence() {
	var word uint32
	atomic.AddUint32(&word, 1)
}

// storeFence orders an atomic store before it with the stores after it: the shard's counter must be odd before the table changes.
// An atomic store keeps only what precedes before it. Of the word's read-modify-write the load is an acquire, which is ordered
// with the release before it, and orders the stores behind it.
func storeFence() {
	var word uint32
	atomic.AddUint32(&word, 1)
}
