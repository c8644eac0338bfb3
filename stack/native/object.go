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

// Object is a shared object in a region of its own. LoadObject makes one; use of the zero Object is a
// *guard.Violation. Its methods may be called by any number of goroutines. An Object must not be copied.
type Object struct {
	_         nocopy.NoCopy
	path      string
	region    *region.Region
	functions map[string]uintptr // offsets from the region's base
}

// LoadObject loads a shared object (ELF, position-independent) that needs nothing else: C compiled
// with, say,
//
//	cc -O2 -fPIC -shared -nostdlib -ffreestanding -o kernels.so kernels.c
//
// Code and constants are shared with whoever else has the file mapped. All of it is charged to the
// budget, in whole OS pages, because whatever the object writes to is copied. The file may be
// replaced or removed afterwards, but must not be written to or shortened while the object is open,
// as with every shared object: what is missing then faults (guard.Truncated).
//
// Segments get the protections that they ask for; what needs relocation only (RELRO) is read-only
// afterwards; nothing is ever writable and executable at once. The error says what it is if the file
// is damaged, is for another machine, or asks for what is not done here: other libraries or their
// symbols, thread-local variables, constructors and destructors, indirect functions, relocations in
// code, an executable stack. An undefined weak symbol has the address 0.
//
// The error wraps guard.ErrNoMemory where the budget or the kernel refuses, and
// errors.ErrUnsupported on all but Linux for amd64 and arm64. Where the system does not let the
// process execute the file (noexec, SELinux, seccomp) the error says so, and wraps the kernel's.
func LoadObject(path string) (*Object, error) {
	o, err := loadObject(path)
	if err != nil {
		return nil, fmt.Errorf("native: load object %q: %w", path, err)
	}
	return o, nil
}

func loadObject(path string) (*Object, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	// Looked at first: to open a named pipe waits for whoever writes to it.
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
	r, err := mapFilled(region.Config{Name: filepath.Base(path), Size: int(im.size())}, func(r *region.Region) (err error) {
		// The file may be shortened meanwhile.
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

// Func returns the address of a function that the object exports; a name that is unknown, or that of
// something else, is an error. Versions of symbols are not looked at.
func (o *Object) Func(name string) (Func, error) {
	o.usable("Func")
	offset, found := o.functions[name]
	if !found {
		return 0, fmt.Errorf("native: object %q exports no function %q", o.path, name)
	}
	return Func(uintptr(o.region.Base()) + offset), nil
}

// Close takes the object's memory away; none of its functions may be running. A second Close is an
// error that wraps guard.ErrClosed. After any other error the object is as it was, and Close may be
// called again.
func (o *Object) Close() error {
	o.usable("Close")
	return o.region.Close()
}

// usable panics unless LoadObject made the object.
func (o *Object) usable(op string) {
	if o == nil || o.region == nil {
		panic(&guard.Violation{Op: "native." + op, What: "use of a zero Object: native.LoadObject makes one"})
	}
}
