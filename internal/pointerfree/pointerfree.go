// Package pointerfree checks whether a type may live outside the Go heap. The garbage collector does not look
// there: a Go pointer stored off-heap keeps nothing alive, and its target is freed too early. So only types
// without Go pointers may live off-heap.
//
// # Two checks
//
//	Words  reads the runtime's type descriptor    a constant, or two loads   yes or no
//	Check  walks the type with reflect, once      a map lookup               names the field
//
// The descriptor says how many leading bytes of a type may hold pointers; 0 means none. Words reads it
// through the type word of a *T. In an inlined generic function the compiler knows the descriptor, so the
// check is a constant and costs nothing.
//
// The layout of descriptors belongs to the runtime and may change. When the program starts, Words is
// compared with reflect for a set of types. If they differ, Trusted is false, and callers use Check alone.
//
// # Concurrency
//
// All functions may be called by any number of goroutines at the same time.
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
	// An int and not a uintptr: the compiler turns loads of an int from descriptors into constants, but
	// not loads of a uintptr (Go 1.26).
	pointerBytes int
}

// pointer is the runtime's descriptor of a pointer type (internal/abi.PtrType): the common part, which is four
// words and 16 bytes, and the descriptor of the element.
type pointer struct {
	_    [16 + 4*unsafe.Sizeof(uintptr(0))]byte
	elem *descriptor
}

// Words returns how many leading bytes of a T may hold pointers; 0 means that T has none. p is a *T, which may
// be nil. The result is valid only if Trusted.
func Words(p any) int { return (*(**pointer)(unsafe.Pointer(&p))).elem.pointerBytes }

// Trusted reports whether Words agrees with reflect.
var Trusted = agrees()

// agrees compares Words with reflect.
func agrees() (ok bool) {
	// If the layout is another one, Words may read anywhere and fault. Changes of reflect may panic.
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

// PointerError says that a type has Go pointers, and names the first one.
type PointerError struct {
	Type reflect.Type // the type that was checked
	Path string       // the field with the pointer: "Order.Customer.Name"
	Leaf reflect.Type // the type of this field
}

func (e *PointerError) Error() string {
	where := "it is " + kind(e.Leaf)
	if e.Leaf != e.Type {
		where = e.Path + " is " + kind(e.Leaf)
		if e.Leaf.Kind() != reflect.String {
			where += fmt.Sprintf(" (%s)", e.Leaf)
		}
	}
	return fmt.Sprintf("%s cannot live outside the Go heap: %s, and the garbage collector does not see pointers there", e.Type, where)
}

// kind returns the words for a type that is or holds a pointer.
func kind(t reflect.Type) string {
	switch k := t.Kind(); k {
	case reflect.Interface:
		return "an interface"
	case reflect.String, reflect.Slice, reflect.Map, reflect.Chan, reflect.Func:
		return "a " + k.String()
	}
	return "a pointer"
}

var checked sync.Map // reflect.Type → *PointerError; nil for types without pointers

// Check returns a *PointerError for the first Go pointer in a type; nil if there is none. It walks each type
// once, and keeps the result.
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

// typeName returns the name of a type, for the start of a path.
func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}

// find returns the first pointer in a type; nil if there is none. path names the type in the result.
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
