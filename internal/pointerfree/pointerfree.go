// Package pointerfree tells whether a type may live outside the Go heap.
//
// The collector does not look there, so a pointer stored off-heap keeps nothing
// alive: what it points to is freed under it. Only types without pointers may go.
//
// # Cost
//
// The runtime's descriptor of a type says how many of its leading bytes may hold pointers; 0 means
// none. Words reads that through the type word of a *T. In an inlined generic function the compiler
// knows the descriptor, so the answer is a constant and the check costs nothing; elsewhere it is
// two loads.
//
// The layout that Words relies on is the runtime's own business. It is compared with
// reflect's answers when the program starts; where they differ Trusted is
// false, and callers go by Check alone.
package pointerfree

import (
	"fmt"
	"reflect"
	"sync"
	"unsafe"
)

// descriptor is the start of the runtime's type descriptor (internal/abi.Type).
type descriptor struct {
	_ uintptr
	// Declared as int and not as uintptr: the compiler folds integer loads
	// from descriptors into constants, but not uintptr ones (Go 1.26).
	pointerBytes int
}

// pointer is the descriptor of a pointer type (internal/abi.PtrType): the common
// part, which is four words and 16 bytes, then the element's descriptor.
type pointer struct {
	_    [16 + 4*unsafe.Sizeof(uintptr(0))]byte
	elem *descriptor
}

// Words returns how many leading bytes of what p points to may hold pointers. p must be
// a *T converted to any; it may be nil.
func Words(p any) int { return (*(**pointer)(unsafe.Pointer(&p))).elem.pointerBytes }

// Trusted tells whether Words agrees with reflect.
var Trusted = agrees()

func agrees() (ok bool) {
	// The layout is a guess until proven: a wrong one may read anywhere, and
	// reflect may change too.
	defer func() { ok = recover() == nil && ok }()
	abi := reflect.TypeFor[reflect.Value]().Field(0).Type.Elem() // *abi.Type
	common, found := abi.FieldByName("PtrBytes")
	if !found || common.Offset != unsafe.Offsetof(descriptor{}.pointerBytes) || common.Type.Kind() != reflect.Uintptr ||
		abi.Size() != unsafe.Offsetof(pointer{}.elem) {
		return false
	}
	for p, want := range map[any]bool{
		(*int)(nil): false, (*[3]uint16)(nil): false, (*struct{ a, b float64 })(nil): false, (*struct{})(nil): false, (*uintptr)(nil): false,
		(*string)(nil): true, (**int)(nil): true, (*[]byte)(nil): true, (*any)(nil): true, (*map[int]int)(nil): true, (*func())(nil): true,
		(*chan int)(nil): true, (*unsafe.Pointer)(nil): true, (*struct {
			a int
			b [2]string
		})(nil): true, (*[0]*int)(nil): false,
	} {
		if (Words(p) != 0) != want || (find(reflect.TypeOf(p).Elem(), "") != nil) != want {
			return false
		}
	}
	return true
}

// PointerError names the first pointer of a type that was to go off-heap.
type PointerError struct {
	Type reflect.Type // that was asked for
	Path string       // "Order.Customer.Name"
	Leaf reflect.Type // what lies there
}

func (e *PointerError) Error() string {
	return fmt.Sprintf("%s cannot live outside the Go heap: %s is a %s, and the garbage collector does not see pointers there", e.Type, e.Path, describe(e.Leaf))
}

func describe(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Interface, reflect.Slice, reflect.Map, reflect.Chan, reflect.Func:
		return fmt.Sprintf("%s (%s)", t.Kind(), t)
	}
	return fmt.Sprintf("pointer (%s)", t)
}

var checked sync.Map // reflect.Type → *PointerError, nil for clean types

// Check walks the type and returns a *PointerError for the first pointer found; nil for a clean
// type. Answers are kept. Safe for concurrent use.
func Check(t reflect.Type) error {
	known, ok := checked.Load(t)
	if !ok {
		e := find(t, typeName(t))
		if e != nil {
			e.Type = t
		}
		known, _ = checked.LoadOrStore(t, e)
	}
	if e := known.(*PointerError); e != nil {
		return e
	}
	return nil
}

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}

func find(t reflect.Type, path string) *PointerError {
	switch t.Kind() {
	case reflect.Pointer, reflect.UnsafePointer, reflect.String, reflect.Slice, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface:
		return &PointerError{Path: path, Leaf: t}
	case reflect.Array:
		if t.Len() > 0 {
			return find(t.Elem(), path+"[0]")
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if e := find(t.Field(i).Type, path+"."+t.Field(i).Name); e != nil {
				return e
			}
		}
	}
	return nil
}
