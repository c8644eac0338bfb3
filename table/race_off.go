//go:build !race

package table

// marks are empty in builds without the race detector: see race_on.go.
type marks struct{}

func (*marks) markRead()         {}
func (*marks) markWrite()        {}
func (m *Map[K, V]) watch(bool)  {}
func (m *Strings[V]) watch(bool) {}
