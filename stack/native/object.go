package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/internal/region"
)

// Object is a loaded shared object, in a region of its own. LoadObject makes one; any use of the zero Object
// is a *guard.Violation. Any number of goroutines may call its methods at the same time. An Object must
// not be copied.
type Object struct {
	_         nocopy.NoCopy
	path      string
	region    *region.Region
	functions map[string]uintptr // offsets from the region's base
}

// LoadObject loads a shared object (ELF, position-independent) that needs no other library. For C, such a
// file comes from
//
//	cc -O2 -fPIC -shared -nostdlib -ffreestanding -o kernels.so kernels.c
//
// Processes that map the same file share its code and constants in RAM. The budget is charged for the
// whole object, in OS pages, because the parts that are written to are copied. The file may be replaced or
// removed afterwards. It must not be written to or shortened while the object is open, as with every
// shared object: a touch of a part that was cut off faults (guard.Truncated).
//
// Each segment gets the protection that the file asks for. Memory that is written to by relocation alone
// (RELRO) is read-only afterwards. No memory is ever writable and executable at once. An undefined weak
// symbol has the address 0.
//
// LoadObject returns an error that says why if the file is damaged, if it is for another machine, or if it
// needs one of these:
//   - other libraries, or symbols of them
//   - thread-local variables
//   - constructors or destructors
//   - indirect functions (IFUNC)
//   - relocations in code
//   - an executable stack
//
// The error wraps guard.ErrNoMemory where the budget or the kernel refuses the memory, and
// errors.ErrUnsupported on all systems but Linux for amd64 and arm64. Where the system does not let the
// process execute the file (noexec, SELinux, seccomp) the error wraps the kernel's and names these causes.
func LoadObject(path string) (*Object, error) {
	o, err := loadObject(path)
	if err != nil {
		return nil, fmt.Errorf("native: load object %q: %w", path, err)
	}
	return o, nil
}

func loadObject(path string) (*Object, error) {
	if err := checkSupported(); err != nil {
		return nil, err
	}
	// Before the file is opened: to open a named pipe waits for a writer.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	im, err := openImage(file)
	if err != nil {
		return nil, err
	}
	d, err := im.dynamic()
	if err != nil {
		return nil, err
	}
	r, err := reserveFilled(region.Config{Name: filepath.Base(path), Size: int(im.size())}, func(r *region.Region) (err error) {
		// If the file is shortened meanwhile, these calls fault.
		fault := guard.Catch(func() {
			if err = explainRefusal(im.mapInto(r), refusedObject); err != nil {
				return
			}
			if err = d.relocate(r); err != nil {
				return
			}
			err = im.protectRelocated(r)
		})
		return errors.Join(err, fault)
	})
	if err != nil {
		return nil, err
	}
	return &Object{path: path, region: r, functions: d.functions()}, nil
}

// Func returns a function that the object exports. A name that the object does not export, or that names a
// variable, is an error. Func ignores versions of symbols.
func (o *Object) Func(name string) (Func, error) {
	o.usable("Func")
	offset, found := o.functions[name]
	if !found {
		return 0, fmt.Errorf("native: object %q exports no function %q", o.path, name)
	}
	return Func(uintptr(o.region.Base()) + offset), nil
}

// Close takes the object's code and data away. None of its functions may be running. A second Close returns
// an error that wraps guard.ErrClosed. After any other error the object is still there, and Close may be
// called again.
func (o *Object) Close() error {
	o.usable("Close")
	return o.region.Close()
}

// usable panics unless LoadObject made the object.
func (o *Object) usable(op string) {
	if o == nil || o.region == nil {
		panic(&guard.Violation{Op: "native." + op, Kind: guard.ZeroValue, Detail: "native.LoadObject makes an Object"})
	}
}
