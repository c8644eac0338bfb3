package slab

import (
	"fmt"

	"github.com/seed-9a6c551e/offheap/slab/internal/account"
	"github.com/seed-9a6c551e/offheap/slab/internal/units"
)

// prefixed puts the package's name in front of an error that a user will see.
func prefixed(err error) error {
	switch err.(type) {
	case *account.LimitError, *units.FullError: // their text has it already
		return err
	}
	return fmt.Errorf("slab: %w", err)
}
