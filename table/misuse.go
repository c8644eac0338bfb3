package table

import (
	"path"
	"runtime"
	"strings"
	"unicode"
)

// callOf returns the method of a type that the program has called, as Map.Put, for the text of a panic. It looks at the stack: so the calls,
// which are to be fast, do not hand their names on.
func callOf(typ string) string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	here, more := frames.Next()
	call, method := typ, "(*"+typ+"[...])."
	for more {
		var f runtime.Frame
		f, more = frames.Next()
		if path.Dir(f.File) != path.Dir(here.File) || strings.HasSuffix(f.File, "_test.go") {
			break
		}
		// A function in a method that was inlined has the name of the method behind that of another.
		if _, name, ok := strings.Cut(f.Function, method); ok && unicode.IsUpper(rune(name[0])) {
			name, _, _ = strings.Cut(name, ".")
			call = typ + "." + name
		}
	}
	return call
}
