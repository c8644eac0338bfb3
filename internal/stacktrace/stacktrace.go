// Package stacktrace records stacks of calls, and prints them as the runtime does.
package stacktrace

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// most is the number of callers recorded: a whole stack, except in a deep recursion.
const most = 64

// Callers returns the stack of the caller of the function that calls it, without its first skip functions.
func Callers(skip int) []uintptr {
	var pcs [most]uintptr
	return slices.Clone(pcs[:runtime.Callers(skip+2, pcs[:])])
}

// Text returns a stack as the runtime prints it: for each function a line with its name, and one with its place.
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

// module is the prefix of the names of this module's functions.
var module = strings.TrimSuffix(reflect.TypeFor[here]().PkgPath(), "internal/stacktrace")

// OfUser returns a stack without the functions of this module that it begins with. Functions of tests are kept.
func OfUser(pcs []uintptr) []uintptr {
	for i := range pcs {
		f, _ := runtime.CallersFrames(pcs[i : i+1]).Next()
		if !strings.HasPrefix(f.Function, module) || strings.HasSuffix(f.File, "_test.go") {
			return pcs[i:]
		}
	}
	return pcs
}
