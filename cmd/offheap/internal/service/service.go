package service

import "fmt"

// Service keeps entries and answers requests for them. Any number of goroutines may use it at once.
type Service interface {
	// Set stores a copy of value for a copy of key, in place of the value that was there.
	Set(key, value []byte) error

	// Get returns the value of key: appended to dst, or a slice that nobody changes. found tells whether there is
	// one.
	Get(dst, key []byte) (value []byte, found bool)

	// Close frees the entries. Nobody may use the service meanwhile.
	Close() error
}

// Side names a service.
type Side string

const (
	GoMaps  Side = "go"
	GoFlat  Side = "go_flat"
	OffHeap Side = "offheap"
)

// Open returns an empty service with room for so many entries. limit is how many bytes it may take off the heap; 0
// for no limit. Memory on the heap has GOMEMLIMIT.
func Open(side Side, entries int, limit int64) (Service, error) {
	switch side {
	case GoMaps:
		return newGoMaps(entries), nil
	case GoFlat:
		return newGoFlat(entries), nil
	case OffHeap:
		return newOffHeap(limit)
	}
	return nil, fmt.Errorf("there is no service %q", side)
}
