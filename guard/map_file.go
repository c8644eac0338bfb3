package guard

import (
	"errors"
	"fmt"
	"os"

	"github.com/seed-9a6c551e/offheap/internal/region"
)

// FileMode says what stores to a mapped file do.
type FileMode uint8

// The modes of MapFile.
const (
	FileRead    FileMode = iota // a store faults (ReadOnly); the file must be open for reading
	FileShared                  // a store goes to the file; the file must be open for reading and writing
	FilePrivate                 // a store copies its OS page and never reaches the file, which must be open for reading
)

// FileConfig says what MapFile maps. The zero FileConfig maps all of the file for reading.
type FileConfig struct {
	// Name is shown in faults and in Regions. Default: the last element of the file's name.
	Name string

	// Offset is where the region begins in the file, in bytes: any from 0 to the end of the file.
	Offset int64

	// Length is the bytes to map, which the file must have. Default 0: all to its end, which may be none.
	Length int64

	// Mode says what stores do. Default FileRead.
	Mode FileMode

	// Reserve is the bytes of addresses to reserve for Region.Grow, at least the length. Default: the length.
	Reserve int64

	// Populate brings the file into RAM before MapFile returns, as Region.Prefetch does.
	Populate bool

	// Memory says that the file is memory and has no disk behind it, as files of /dev/shm are: its bytes are charged to
	// the budget in every mode.
	Memory bool

	// Near is the hint that Config.Near is.
	Near uintptr
}

// MapFile makes a region that shows a file from byte FileConfig.Offset on. Base is the address of this byte, and Size the
// bytes mapped. f may be closed afterwards, and the file removed or replaced: the region keeps a descriptor of its own
// until Close. It must be a regular file.
//
// The guards are at borders of OS pages. So up to an OS page of the file before Offset may be read, too, and up to an OS
// page behind Size, which is the file's or reads zero. What is stored behind the end of the file is lost.
//
// What others write to the file is seen at once by FileRead and FileShared; FilePrivate may see it or not. See the
// package comment for what happens when the file becomes shorter or the disk is full.
//
// FilePrivate is charged to the budget, and may call Budget.OnSoft; the other modes are not, because their memory is the
// kernel's cache of the file, unless FileConfig.Memory says otherwise. Resident counts OS pages of the file that any process brought into RAM.
//
// The error wraps ErrNoMemory where there are no addresses or mappings or the budget refuses, or lengths are more than
// addresses can hold; io.ErrUnexpectedEOF where Offset or Length reach beyond the end of the file; fs.ErrPermission
// where the file is not open for what Mode needs. After an error nothing is mapped, and no descriptor is kept.
//
// It works on all systems. A file system may refuse to map a file at all, as those of settings (/proc, /sys) do, or
// FileShared, as those of programs (FUSE) may: then the error is the kernel's. Of files on other machines (NFS) the other
// machines' stores show late, and a file that was deleted there faults (FileFailed). The tests do not cover NFS and FUSE.
func MapFile(f *os.File, c FileConfig) (*Region, error) {
	config := region.FileConfig{
		Name: c.Name, Offset: c.Offset, Length: c.Length, Prot: ReadWrite, Reserve: c.Reserve, Populate: c.Populate,
		Near: c.Near, Memory: c.Memory, Skip: 1,
	}
	switch c.Mode {
	case FileRead:
		config.Prot, config.Shared = Read, true
	case FileShared:
		config.Shared = true
	case FilePrivate:
	default:
		return nil, fmt.Errorf("guard: map file: %d is not a FileMode", c.Mode)
	}
	if f == nil {
		return nil, errors.New("guard: map file: there must be a file")
	}
	r, err := region.OpenFile(f, config)
	if err != nil {
		return nil, err
	}
	return &Region{r: r}, nil
}
