//go:build unix && !linux && !aix

package vm

import "os"

const (
	SealSeals Seals = 1 << iota
	SealShrink
	SealGrow
	SealWrite
	SealFutureWrite
)

func CreateMemory(string) (int, error)                   { return -1, ErrUnsupported }
func Seal(int, Seals) error                              { return ErrUnsupported }
func SealsOf(int) (Seals, error)                         { return 0, ErrUnsupported }
func IsForReading(int) (bool, error)                     { return false, ErrUnsupported }
func OpenForReading(int) (int, error)                    { return -1, ErrUnsupported }
func SendDescriptor(int, []byte, int) (int, error)       { return 0, ErrUnsupported }
func ReceiveDescriptors(int, []byte) (int, []int, error) { return 0, nil, ErrUnsupported }
func IsBusy(error) bool                                  { return false }
func CreateUnnamed(string) (*os.File, error)             { return nil, ErrUnsupported }
func Link(int, string) error                             { return ErrUnsupported }
func OpenFile(string, bool) (*os.File, error)            { return nil, ErrUnsupported }
func Remove(string) error                                { return ErrUnsupported }
func ShareLock(int) error                                { return ErrUnsupported }
func TakeLock(int) error                                 { return ErrUnsupported }
