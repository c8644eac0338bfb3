// Package stacktrace records who called, and prints it as the runtime does.
package stacktrace

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// most callers are recorded: that is a whole stack, but for a deep recursion.
const most = 64

// Callers returns the stack of who called the caller, without skip frames of that.
func Callers(skip int) []uintptr {
	var pcs [most]uintptr
	return slices.Clone(pcs[:runtime.Callers(skip+2, pcs[:])])
}

// Text prints a stack as the runtime does: a line for the function, one for the place.
func Text(pcs []uintptr) string {
	if len(pcs) == 0 {
		return ""
	}
	var b strings.Builder
	for frames := runtime.CallersFrames(pcs); ; {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}

type here struct{}

// module is what the names of the module's functions begin with.
var module = strings.TrimSuffix(reflect.TypeFor[here]().PkgPath(), "internal/stacktrace")

// OfUser leaves out what a stack begins with of this module, its tests excepted.
func OfUser(pcs []uintptr) []uintptr {
	for i := range pcs {
		f, _ := runtime.CallersFrames(pcs[i : i+1]).Next()
		if !strings.HasPrefix(f.Function, module) || strings.HasSuffix(f.File, "_test.go") {
			return pcs[i:]
		}
	}
	return pcs
}
