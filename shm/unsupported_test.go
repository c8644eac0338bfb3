//go:build !linux

package shm

import (
	"errors"
	"testing"
)

// TestUnsupported asks for shared memory on a system that has none here.
func TestUnsupported(t *testing.T) {
	if _, err := Create(Config{Size: 1}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Create: %v", err)
	}
}
