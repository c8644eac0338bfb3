// Package nocopy has the field that lets vet report copies of a struct.
package nocopy

// NoCopy is a field of no bytes. go vet (copylocks) reports copies of a struct that has it:
//
//	type Region struct {
//		_ nocopy.NoCopy
//		…
//	}
type NoCopy struct{}

// Lock makes vet take a NoCopy for a lock, which must not be copied. Nobody calls it.
func (*NoCopy) Lock() {}

// Unlock belongs to Lock.
func (*NoCopy) Unlock() {}
