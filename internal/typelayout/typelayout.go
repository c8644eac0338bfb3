// Package typelayout describes how the fields of a type lie in memory, as a text that is stored beside data of
// the type. A program that opens the data later compares the text with that of its own type, and learns by
// name which field has changed since.
//
// # The text
//
// One line has one field: its path, its kind, the byte at which it begins, and its bytes. The first line names
// the form of the text and the byte order of the machine, the second line is the type itself.
//
//	type Order struct {                layout 1 little-endian
//		ID    uint32                   . struct 0 56
//		Lines [2]struct {              ID uint32 0 4
//			Article int64              Lines [2]struct 8 32
//			Price   float64            Lines[].Article int64 0 8
//		}                              Lines[].Price float64 8 8
//		_    [4]byte                   Name [10]uint8 44 10
//		Name [10]byte
//	}
//
// The fields of an array's element come once, and begin at a byte of the element. A text has at most MaxLen
// bytes: a type that needs more has a checksum in place of its last lines.
//
// # What is the same
//
//	counts          names of fields, their order, kind, byte and size; the length of arrays; the size of the
//	                type; the byte order
//	does not count  names of types and packages, tags, whether a field is embedded; padding and blank fields
//
// So int and int64 differ, on a machine where both have 8 bytes, too: only one of them stays what it is when the
// data moves to another machine. A field that becomes blank is missing, and one that takes the place of a blank
// field is new.
//
// # What it does not do
//
// It does not convert data from one layout to another, and it does not describe Go pointers: data with pointers
// cannot be stored. Package pointerfree finds them.
//
// # Concurrency
//
// All functions may be called by any number of goroutines at the same time.
package typelayout

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// MaxLen is the most bytes of a text: room for some 1,500 fields.
const MaxLen = 1 << 16

// form is how the first line begins. A change of the text needs another number.
const form = "layout 1 "

// root is the path of the type itself.
const root = "."

// restMark begins the line that stands for all lines after it: their number and checksum.
const restMark = "+"

// restLen is the most bytes of that line.
const restLen = 64

var described sync.Map // reflect.Type → string

// Describe returns the text of a type. Two types have the same text if data of one can be read as the other. The
// text of a type depends on the machine only where the memory does: the size of int, uint and uintptr, alignment
// and byte order. If several types are stored side by side, describe a struct of them: the text then has their
// places, and paths say which one has changed. Describe panics if the type contains Go pointers.
//
// Cost: a type is described once, later calls look it up.
func Describe(t reflect.Type) string {
	if text, ok := described.Load(t); ok {
		return text.(string)
	}
	text := join(form+byteOrder(), addField(nil, root, t, 0))
	described.Store(t, text)
	return text
}

// byteOrder returns the byte order of this machine.
func byteOrder() string {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return "little-endian"
	}
	return "big-endian"
}

// addField appends the lines of a field, and of the fields in it.
func addField(lines []string, path string, t reflect.Type, at uintptr) []string {
	token, elem, below := "", t, path
	for elem.Kind() == reflect.Array {
		token += "[" + strconv.Itoa(elem.Len()) + "]"
		below += "[]"
		if elem.Len() == 0 {
			// There is no element, so its type does not matter. It may even contain pointers.
			return append(lines, line{path, token, uint64(at), uint64(t.Size())}.String())
		}
		elem = elem.Elem()
	}
	kind := elem.Kind()
	if !kinds[kind.String()] {
		panic(fmt.Errorf("typelayout: %s in a type to be stored is a Go %s", path, kind))
	}
	lines = append(lines, line{path, token + kind.String(), uint64(at), uint64(t.Size())}.String())
	if kind != reflect.Struct {
		return lines
	}
	if elem != t {
		at = 0 // from here on bytes count from the element
	}
	if below == root {
		below = ""
	} else {
		below = strings.TrimPrefix(below, root) + "."
	}
	for i := range elem.NumField() {
		if f := elem.Field(i); f.Name != "_" {
			lines = addField(lines, below+f.Name, f.Type, at+f.Offset)
		}
	}
	return lines
}

// kinds are the kinds of fields that can be stored.
var kinds = func() map[string]bool {
	m := map[string]bool{reflect.Struct.String(): true}
	for k := reflect.Bool; k <= reflect.Complex128; k++ {
		m[k.String()] = true
	}
	return m
}()

// join makes the text: the first line and the others, as many as MaxLen allows, and a checksum of the rest.
func join(first string, lines []string) string {
	size := len(first) + 1
	fits := 0 // how many lines fit if a checksum follows
	for _, l := range lines {
		if size += len(l) + 1; size <= MaxLen-restLen {
			fits++
		}
	}
	if size > MaxLen {
		sum := fnv.New128a()
		for _, l := range lines[fits:] {
			sum.Write([]byte(l + "\n"))
		}
		rest := fmt.Sprintf("%s %d %x", restMark, len(lines)-fits, sum.Sum(nil))
		lines = append(lines[:fits:fits], rest)
	}
	return first + "\n" + strings.Join(lines, "\n") + "\n"
}

// line is one field of a text.
type line struct {
	path, token string // token is the kind, after the lengths of arrays: "[4][2]struct"
	at, size    uint64 // in bytes
}

func (l line) String() string { return fmt.Sprintf("%s %s %d %d", l.path, l.token, l.at, l.size) }
