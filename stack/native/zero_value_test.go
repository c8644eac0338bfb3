package native

import (
	"reflect"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/nocopy"
	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/internal/stacktest"
)

// TestOutsideZeroValues uses zero values and nil pointers. The violation names the call that makes a usable one.
func TestOutsideZeroValues(t *testing.T) {
	const (
		noCode   = "use of a zero value: native.LoadCode makes a Code"
		noObject = "use of a zero value: native.LoadObject makes an Object"
		noStack  = "use of a zero value: Pool.Get makes a Stack"
	)
	for _, c := range []*Code{nil, new(Code)} {
		stacktest.Violates(t, "Code.Func", func() { c.Func(0) }, noCode)
		stacktest.Violates(t, "Code.Close", func() { c.Close() }, noCode)
	}
	for _, o := range []*Object{nil, new(Object)} {
		stacktest.Violates(t, "Object.Func", func() { o.Func("f") }, noObject)
		stacktest.Violates(t, "Object.Close", func() { o.Close() }, noObject)
	}
	zero := new(stack.Stack)
	stacktest.Violates(t, "Call", func() { Call(zero, 1) }, noStack)
	stacktest.Violates(t, "CallF", func() { CallF(zero, 1) }, noStack)
	if *zero != (stack.Stack{}) {
		t.Errorf("the zero Stack was changed: %+v", zero)
	}
}

// TestOutsideNoCopies looks for the field by which go vet reports copies of a type.
func TestOutsideNoCopies(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Code](), reflect.TypeFor[Object]()} {
		found := false
		for i := range typ.NumField() {
			found = found || typ.Field(i).Type == reflect.TypeFor[nocopy.NoCopy]()
		}
		if !found {
			t.Errorf("%v has no nocopy.NoCopy", typ)
		}
	}
}
