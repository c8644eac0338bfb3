package typelayout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrDamaged is wrapped by errors of Compare if the stored text is none that Describe has made.
var ErrDamaged = errors.New("the stored layout is damaged")

// Compare compares the text that was stored with the one of this program. It returns nil if they are equal, else
// an error that names the first field that differs:
//
//	field Price was stored as an int64 at byte 8, and is a float64 at byte 8 in this program
//	field Price was stored as an int64 at byte 8, and is named Cost in this program
//	field Name was stored as a [10]uint8 at byte 24, and is missing in this program
//	field Tax is new in this program, an int64 at byte 16
//	the type was stored with 24 bytes, and has 32 bytes in this program
//	it was stored on a big-endian machine, and this one is little-endian
//
// stored may be any bytes: Compare does not panic, its work is bounded by the length of both texts, and the
// error is short. The error wraps ErrDamaged if the stored text is none of Describe's.
func Compare(stored, now string) error {
	if stored == now {
		return nil
	}
	if len(stored) > MaxLen {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrDamaged, MaxLen)
	}
	storedOrder, storedBody, ok := header(stored)
	if !ok {
		return fmt.Errorf("%w: its first line is unknown to this program", ErrDamaged)
	}
	nowOrder, nowBody, ok := header(now)
	if !ok {
		return errNow
	}
	if storedOrder != nowOrder {
		return fmt.Errorf("it was stored on a %s machine, and this one is %s", storedOrder, nowOrder)
	}
	return compareFields(storedBody, nowBody)
}

// header splits the first line from a text. It returns the byte order, the other lines, and whether the line is
// one of Describe's.
func header(text string) (order, body string, ok bool) {
	first, body, complete := strings.Cut(text, "\n")
	order, known := strings.CutPrefix(first, form)
	return order, body, complete && known && (order == "little-endian" || order == "big-endian")
}

// compareFields returns an error for the first difference of two texts without their first lines.
//
// If a struct has another size, then a field in it has most likely changed. So the struct is kept in grown, and is
// named only if the next difference is not in it.
func compareFields(storedBody, nowBody string) error {
	stored, now := storedBody, nowBody
	var grown *change
	for number := 2; stored != "" || now != ""; number++ {
		s, afterStored, complete := strings.Cut(stored, "\n")
		if stored != "" && (s == "" || !complete) {
			return fmt.Errorf("%w in line %d", ErrDamaged, number)
		}
		n, afterNow, _ := strings.Cut(now, "\n")
		stored, now = afterStored, afterNow
		if s == n {
			continue
		}
		c, err := differ(s, n, storedBody, nowBody)
		if err != nil {
			return fmt.Errorf("%w in line %d", err, number)
		}
		if grown != nil && !c.under(grown) {
			return grown.error()
		}
		if c.what != sizeChanged {
			return c.error()
		}
		grown = &c
	}
	if grown == nil {
		return ErrDamaged // the texts differ, and none of their lines does
	}
	return grown.error()
}

// change is a field that differs.
type change struct {
	stored, now line // zero if the field is in one of the texts only
	what        what
}

type what uint8

const (
	placeChanged what = iota // kind, byte or size
	sizeChanged              // the size of a struct, or of an array of structs, and nothing else
	removed
	added
	renamed
	replaced // another field is in its place, and may be elsewhere
	unlisted // it is among the lines that have only a checksum
)

// errNow is returned if the text of this program is none, which is a mistake of the caller.
var errNow = errors.New("the layout of this program is none of Describe's")

// differ returns the change that two lines show which should be equal; "" is no line.
func differ(s, n, storedBody, nowBody string) (change, error) {
	if strings.HasPrefix(s, restMark) || strings.HasPrefix(n, restMark) {
		return change{what: unlisted}, nil
	}
	var c change
	var ok bool
	if c.stored, ok = parse(s); !ok && s != "" {
		return c, ErrDamaged
	}
	if c.now, ok = parse(n); !ok && n != "" {
		return c, errNow
	}
	if c.stored.path == c.now.path {
		if c.stored.token == c.now.token && c.stored.at == c.now.at && strings.HasSuffix(c.now.token, "struct") {
			c.what = sizeChanged
		}
		return c, nil
	}
	moved, stays := find(nowBody, c.stored.path)
	_, was := find(storedBody, c.now.path)
	sure := !strings.Contains(storedBody+nowBody, "\n"+restMark)
	sameParent := parent(c.stored.path) == parent(c.now.path)
	samePlace := sameParent && c.stored.token == c.now.token && c.stored.at == c.now.at && c.stored.size == c.now.size
	switch {
	case s == "" && !was, s != "" && stays && n != "" && !was && sure:
		c.what = added
	case n == "" && !stays, n != "" && was && s != "" && !stays && sure:
		c.what = removed
	case s == "" || n == "":
		return c, ErrDamaged // a field comes twice
	case !sure:
		c.what = replaced
	case stays && was:
		if c.now = moved; c.now == c.stored {
			return c, ErrDamaged // nothing differs but the order of lines
		}
	case samePlace:
		c.what = renamed
	case depth(c.now.path) > depth(c.stored.path):
		c.what = added // at the end of a struct
	default:
		c.what = removed
	}
	return c, nil
}

// find returns the line of a field.
func find(body, path string) (line, bool) {
	if path == "" {
		return line{}, false
	}
	for l := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(l, path) && strings.HasPrefix(l[len(path):], " ") {
			return parse(l)
		}
	}
	return line{}, false
}

// parse reads a line, as String writes it.
func parse(text string) (l line, ok bool) {
	words := strings.Split(text, " ")
	if len(words) != 4 {
		return l, false
	}
	at, errAt := strconv.ParseUint(words[2], 10, 64)
	size, errSize := strconv.ParseUint(words[3], 10, 64)
	l = line{words[0], words[1], at, size}
	return l, errAt == nil && errSize == nil && isPath(l.path) && isToken(l.token) && l.String() == text
}

// isPath tells whether a path can be printed in a message.
func isPath(path string) bool {
	return path != "" && utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// isToken tells whether a word is a kind after any number of array lengths.
func isToken(token string) bool {
	dimensions, kind := "", token
	if end := strings.LastIndexByte(token, ']'); end >= 0 {
		dimensions, kind = token[:end+1], token[end+1:]
	}
	for dimensions != "" {
		length, rest, closed := strings.Cut(dimensions, "]")
		digits, opened := strings.CutPrefix(length, "[")
		if _, err := strconv.ParseUint(digits, 10, 64); !closed || !opened || err != nil {
			return false
		}
		dimensions = rest
		if digits == "0" {
			return rest == "" && kind == ""
		}
	}
	return kinds[kind]
}

// parent returns the path of the struct that a field is in.
func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

// depth returns in how many structs a field is.
func depth(path string) int { return strings.Count(path, ".") }

// under tells whether the changed field is in a struct that changed its size.
func (c *change) under(grown *change) bool {
	if grown.now.path == root {
		return true
	}
	path := c.stored.path
	if c.what == added {
		path = c.now.path
	}
	below, ok := strings.CutPrefix(path, grown.now.path)
	return ok && (strings.HasPrefix(below, ".") || strings.HasPrefix(below, "["))
}

// error returns the change in plain words.
func (c *change) error() error {
	field := "field " + short(c.stored.path)
	if c.stored.path == root {
		field = "the type"
	}
	was, is := c.stored.place(), c.now.place()
	switch c.what {
	case sizeChanged:
		return fmt.Errorf("%s was stored with %d bytes, and has %d bytes in this program", field, c.stored.size, c.now.size)
	case removed:
		return fmt.Errorf("%s was stored as %s, and is missing in this program", field, was)
	case added:
		return fmt.Errorf("field %s is new in this program, %s", short(c.now.path), is)
	case renamed:
		return fmt.Errorf("%s was stored as %s, and is named %s in this program", field, was, short(c.now.path))
	case replaced:
		return fmt.Errorf("%s was stored as %s, and field %s is in its place in this program", field, was, short(c.now.path))
	case unlisted:
		return fmt.Errorf("a field differs that is beyond the first %d bytes of the layout", MaxLen-restLen)
	}
	return fmt.Errorf("%s was stored as %s, and is %s in this program", field, was, is)
}

// short returns the start of a name that is too long for a message.
func short(name string) string {
	const most = 200
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// place says what a field is and where.
func (l line) place() string {
	kind := l.token[strings.LastIndexByte(l.token, ']')+1:]
	text := "a " + short(l.token)
	switch {
	case kind == "":
		text = "an empty array"
	case strings.HasPrefix(l.token, "int"):
		text = "an " + l.token
	}
	switch kind {
	case "int", "uint", "uintptr", "struct":
		text += fmt.Sprintf(" of %d bytes", l.size)
	}
	if l.path == root {
		return text
	}
	text += fmt.Sprintf(" at byte %d", l.at)
	if strings.Contains(l.path, "[]") {
		text += " of the element"
	}
	return text
}
