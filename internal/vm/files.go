//go:build unix && !aix

package vm

import (
	"os"
)

// Truncate makes a file shorter or longer. What it gets is a hole, for which no space is set aside.
func Truncate(f *os.File, size int64) error {
	if err := failing(Ftruncate); err != nil {
		return err
	}
	return f.Truncate(size)
}

// WriteZeroes writes zeroes to a file, which sets space aside where Allocate cannot. After an error some of them may be
// written.
func WriteZeroes(f *os.File, at, n int64) error {
	zeroes := make([]byte, min(n, 1<<20))
	for n > 0 {
		if err := failing(Pwrite); err != nil {
			return err
		}
		done, err := f.WriteAt(zeroes[:min(n, int64(len(zeroes)))], at)
		if err != nil {
			return err
		}
		at, n = at+int64(done), n-int64(done)
	}
	return nil
}
