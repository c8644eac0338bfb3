package service

import "github.com/seed-9a6c551e/offheap/cache"

// newOffHeap returns a cache, which is a service as it is. Its Limit is more than the entries need, so it evicts none.
func newOffHeap(limit int64) (*cache.Cache, error) {
	return cache.Open(cache.Config{Limit: int(limit)})
}
