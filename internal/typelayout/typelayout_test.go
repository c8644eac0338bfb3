package typelayout

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

type order struct {
	ID    uint32
	Lines [2]struct {
		Article int64
		Price   float64
	}
	_    [4]byte
	Name [10]byte
}

// TestDescribeExample compares with the example of the package comment.
func TestDescribeExample(t *testing.T) {
	if unsafe.Alignof(int64(0)) != 8 {
		t.Skip("offsets differ on this machine")
	}
	want := `layout 1 ` + byteOrder() + `
. struct 0 56
ID uint32 0 4
Lines [2]struct 8 32
Lines[].Article int64 0 8
Lines[].Price float64 8 8
Name [10]uint8 44 10
`
	if got := Describe(reflect.TypeFor[order]()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

type base struct{ A, B int16 }

type generic[T any] struct{ X T }

// body returns the text of a type without its first line, in one line.
func body[T any]() string {
	_, body, _ := strings.Cut(Describe(reflect.TypeFor[T]()), "\n")
	return strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "\n", "; ")
}

func TestDescribe(t *testing.T) {
	type celsius float32
	word := unsafe.Sizeof(0)
	for _, c := range []struct{ got, want string }{
		{body[bool](), ". bool 0 1"},
		{body[celsius](), ". float32 0 4"},
		{body[int](), fmt.Sprintf(". int 0 %d", word)},
		{body[uintptr](), fmt.Sprintf(". uintptr 0 %d", word)},
		{body[complex64](), ". complex64 0 8"},
		{body[struct{}](), ". struct 0 0"},
		{body[[3]rune](), ". [3]int32 0 12"},
		{body[[4][3]base](), ". [4][3]struct 0 48; [][].A int16 0 2; [][].B int16 2 2"},
		{body[[0]*int](), ". [0] 0 0"},
		{body[[2][0]func()](), ". [2][0] 0 0"},
		{body[struct{ base }](), ". struct 0 4; base struct 0 4; base.A int16 0 2; base.B int16 2 2"},
		{body[struct{ base base }](), ". struct 0 4; base struct 0 4; base.A int16 0 2; base.B int16 2 2"},
		{body[struct{ generic[int8] }](), ". struct 0 1; generic struct 0 1; generic.X int8 0 1"},
		{body[struct {
			A byte
			_ [3]byte
			B struct {
				_ byte
				C [2][2]struct{ D byte }
			}
			_ int16
		}](), ". struct 0 12; A uint8 0 1; B struct 4 5; B.C [2][2]struct 5 4; B.C[][].D uint8 0 1"},
		{body[struct{ Größe int8 }](), ". struct 0 1; Größe int8 0 1"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

func TestDescribePanicsOfPointers(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), "typelayout: A[].Name in a type to be stored is a Go string"; got != want {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	Describe(reflect.TypeFor[struct{ A [2]struct{ Name string } }]())
}

// compare compares the text of two types.
func compare[Stored, Now any]() error {
	return Compare(Describe(reflect.TypeFor[Stored]()), Describe(reflect.TypeFor[Now]()))
}

type (
	f1 = struct {
		A, B, C int32
		D       [4]float32
	}
	inner  = struct{ X, Y int32 }
	grown  = struct{ X, Y, Z int32 }
	padded = struct {
		X, Y int32
		_    int32
	}
	nested[T any] = struct {
		A int32
		S T
		B int32
	}
)

func TestCompare(t *testing.T) {
	type money int32
	for _, c := range []struct {
		err  error
		want string
	}{
		{compare[f1, f1](), ""},
		{compare[f1, struct {
			A, B money
			C    rune
			D    [4]float32
		}](), ""},
		{compare[struct {
			A byte
			B int32
		}, struct {
			A byte
			_ [2]byte
			B int32 `tag:"x"`
		}](), ""},
		{compare[int32, float32](), "the type was stored as an int32, and is a float32 in this program"},
		{compare[[2]int32, [3]int32](), "the type was stored as a [2]int32, and is a [3]int32 in this program"},
		{compare[[0]int32, [1]int32](), "the type was stored as an empty array, and is a [1]int32 in this program"},
		{compare[int32, inner](), "the type was stored as an int32, and is a struct of 8 bytes in this program"},
		// Kind, size and place.
		{compare[f1, struct {
			A, B int32
			C    float32
			D    [4]float32
		}](), "field C was stored as an int32 at byte 8, and is a float32 at byte 8 in this program"},
		{compare[f1, struct {
			A, B, C int32
			D       [5]float32
		}](), "field D was stored as a [4]float32 at byte 12, and is a [5]float32 at byte 12 in this program"},
		{compare[f1, struct {
			B, A, C int32
			D       [4]float32
		}](), "field A was stored as an int32 at byte 0, and is an int32 at byte 4 in this program"},
		{compare[f1, struct {
			_, A, B, C int32
			D          [4]float32
		}](), "field A was stored as an int32 at byte 0, and is an int32 at byte 4 in this program"},
		// Missing, new and renamed.
		{compare[f1, struct {
			A, C int32
			D    [4]float32
		}](), "field B was stored as an int32 at byte 4, and is missing in this program"},
		{compare[f1, struct{ A, B, C int32 }](), "field D was stored as a [4]float32 at byte 12, and is missing in this program"},
		{compare[f1, struct {
			A, _, C int32
			D       [4]float32
		}](), "field B was stored as an int32 at byte 4, and is missing in this program"},
		{compare[f1, struct {
			A, Tax, B, C int32
			D            [4]float32
		}](), "field Tax is new in this program, an int32 at byte 4"},
		{compare[f1, struct {
			A, B, C int32
			D       [4]float32
			Tax     int32
		}](), "field Tax is new in this program, an int32 at byte 28"},
		{compare[f1, struct {
			A, Cost, C int32
			D          [4]float32
		}](), "field B was stored as an int32 at byte 4, and is named Cost in this program"},
		{compare[f1, struct {
			A    int32
			Cost float32
			C    int32
			D    [4]float32
		}](), "field B was stored as an int32 at byte 4, and is missing in this program"},
		// Structs in structs.
		{compare[nested[inner], nested[grown]](), "field S.Z is new in this program, an int32 at byte 12"},
		{compare[nested[grown], nested[inner]](), "field S.Z was stored as an int32 at byte 12, and is missing in this program"},
		{compare[nested[inner], nested[padded]](), "field S was stored with 8 bytes, and has 12 bytes in this program"},
		{compare[struct{ S inner }, struct{ S padded }](), "field S was stored with 8 bytes, and has 12 bytes in this program"},
		{compare[inner, padded](), "the type was stored with 8 bytes, and has 12 bytes in this program"},
		{compare[nested[[2]inner], nested[[2]grown]](), "field S[].Z is new in this program, an int32 at byte 8 of the element"},
		{compare[nested[[2]inner], nested[[3]inner]](), "field S was stored as a [2]struct of 16 bytes at byte 4, and is a [3]struct of 24 bytes at byte 4 in this program"},
		{compare[nested[nested[inner]], nested[nested[padded]]](), "field S.S was stored with 8 bytes, and has 12 bytes in this program"},
		{compare[nested[inner], nested[struct {
			X int32
			Y uint32
		}]](), "field S.Y was stored as an int32 at byte 8, and is a uint32 at byte 8 in this program"},
		{compare[nested[inner], struct {
			A int32
			S grown
			C int32
		}](), "field S.Z is new in this program, an int32 at byte 12"},
		{compare[nested[[2]grown], nested[[2]struct {
			X, Y int32
			Z    float32
		}]](), "field S[].Z was stored as an int32 at byte 8 of the element, and is a float32 at byte 8 of the element in this program"},
	} {
		if got := fmt.Sprint(c.err); got != c.want && (c.err != nil || c.want != "") {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if errors.Is(c.err, ErrDamaged) {
			t.Errorf("damaged: %v", c.err)
		}
	}
}

// TestCompareMachines compares texts of machines with other words and byte orders.
func TestCompareMachines(t *testing.T) {
	const now = "layout 1 little-endian\n. struct 0 16\nA int 0 8\nB uint8 8 1\n"
	for _, c := range []struct {
		stored, want string
		damaged      bool
	}{
		{"layout 1 little-endian\n. struct 0 8\nA int 0 4\nB uint8 4 1\n", "field A was stored as an int of 4 bytes at byte 0, and is an int of 8 bytes at byte 0 in this program", false},
		{"layout 1 big-endian\n. struct 0 16\nA int 0 8\nB uint8 8 1\n", "it was stored on a big-endian machine, and this one is little-endian", false},
		{"layout 2 little-endian\n. struct 0 16\nA int 0 8\nB uint8 8 1\n", "the stored layout is damaged: its first line is unknown to this program", true},
		{"", "the stored layout is damaged: its first line is unknown to this program", true},
		{"layout 1 little-endian", "the stored layout is damaged: its first line is unknown to this program", true},
		{now[:len(now)-1], "the stored layout is damaged in line 4", true},
		{now[:len(now)-3], "the stored layout is damaged in line 4", true},
		{strings.Replace(now, "A int 0 8", "A int 00 8", 1), "the stored layout is damaged in line 3", true},
		{strings.Replace(now, "A int 0 8", "A int 0 8 9", 1), "the stored layout is damaged in line 3", true},
		{strings.Replace(now, "A int 0 8", "A [0]int 0 8", 1), "the stored layout is damaged in line 3", true},
		{strings.Replace(now, "A int 0 8", "\x1b[2J int 0 8", 1), "the stored layout is damaged in line 3", true},
		{strings.Replace(now, "A int 0 8", "\xff int 0 8", 1), "the stored layout is damaged in line 3", true},
		{strings.Replace(now, "A int 0 8\n", "", 1) + "A int 0 8\n", "the stored layout is damaged in line 3", true},
		{now + "B uint8 8 1\n", "the stored layout is damaged in line 5", true},
		{now + "\n", "the stored layout is damaged in line 5", true},
		{now + strings.Repeat("x", MaxLen), fmt.Sprintf("the stored layout is damaged: it is longer than %d bytes", MaxLen), true},
		{strings.Replace(now, "A int", strings.Repeat("A", 1000)+" int", 1), "field " + strings.Repeat("A", 200) + "… was stored as an int of 8 bytes at byte 0, and is named A in this program", false},
	} {
		err := Compare(c.stored, now)
		if fmt.Sprint(err) != c.want || errors.Is(err, ErrDamaged) != c.damaged {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// manyFields returns a struct of n fields of 4 bytes.
func manyFields(n int, kind func(i int) reflect.Type) reflect.Type {
	fields := make([]reflect.StructField, n)
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprintf("Field%d", i), Type: kind(i)}
	}
	return reflect.StructOf(fields)
}

// TestLongLayouts describes types whose texts are longer than MaxLen.
func TestLongLayouts(t *testing.T) {
	const n = 5000
	floatAt := func(at int) reflect.Type {
		return manyFields(n, func(i int) reflect.Type {
			if i == at {
				return reflect.TypeFor[float32]()
			}
			return reflect.TypeFor[int32]()
		})
	}
	stored := Describe(floatAt(-1))
	if len(stored) > MaxLen || len(stored) < MaxLen-200 {
		t.Fatalf("the text has %d bytes", len(stored))
	}
	if err := Compare(stored, Describe(floatAt(n))); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		now  reflect.Type
		want string
	}{
		{floatAt(10), "field Field10 was stored as an int32 at byte 40, and is a float32 at byte 40 in this program"},
		{floatAt(n - 1), fmt.Sprintf("a field differs that is beyond the first %d bytes of the layout", MaxLen-restLen)},
		{manyFields(n-1, func(int) reflect.Type { return reflect.TypeFor[int32]() }), fmt.Sprintf("a field differs that is beyond the first %d bytes of the layout", MaxLen-restLen)},
		{manyFields(100, func(int) reflect.Type { return reflect.TypeFor[int32]() }), "field Field100 was stored as an int32 at byte 400, and is missing in this program"},
		{reflect.StructOf([]reflect.StructField{{Name: "Field4999", Type: reflect.TypeFor[int32]()}}), "field Field0 was stored as an int32 at byte 0, and field Field4999 is in its place in this program"},
	} {
		if got := fmt.Sprint(Compare(stored, Describe(c.now))); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestDescribeAgreesWithReflect compares the texts of random types with the types: two types have the same text if
// and only if they have the same fields at the same places.
func TestDescribeAgreesWithReflect(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var random func(depth int) reflect.Type
	random = func(depth int) reflect.Type {
		switch k := rng.IntN(6); {
		case depth > 0 && k < 2:
			var fields []reflect.StructField
			for _, name := range []string{"A", "B", "C"}[:rng.IntN(4)] {
				fields = append(fields, reflect.StructField{Name: name, Type: random(depth - 1)})
			}
			return reflect.StructOf(fields)
		case depth > 0 && k == 2:
			return reflect.ArrayOf(1+rng.IntN(2), random(depth-1))
		}
		return []reflect.Type{reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[float32]()}[rng.IntN(3)]
	}
	known := map[string]reflect.Type{}
	equal := 0
	for range 20_000 {
		typ := random(3)
		text := Describe(typ)
		was, ok := known[text]
		if known[text] = typ; ok {
			if equal++; was != typ {
				t.Fatalf("%v and %v have the same text:\n%s", was, typ, text)
			}
		}
	}
	if equal == 0 || len(known) < 1000 {
		t.Fatalf("%d texts, %d equal: the types are badly chosen", len(known), equal)
	}
	texts := make([]string, 0, len(known))
	for text := range known {
		texts = append(texts, text)
	}
	for i, text := range texts {
		other := texts[(i+1)%len(texts)]
		if err := Compare(text, other); err == nil || errors.Is(err, ErrDamaged) || len(err.Error()) > 1000 {
			t.Fatalf("%v\n%s\n%s", err, text, other)
		}
	}
}

func FuzzCompare(f *testing.F) {
	a, b := Describe(reflect.TypeFor[order]()), Describe(reflect.TypeFor[nested[[2]grown]]())
	f.Add(a, b)
	f.Add(a, a)
	f.Add(Describe(reflect.TypeFor[nested[inner]]()), Describe(reflect.TypeFor[nested[padded]]()))
	f.Add(a[:30], a)
	f.Add(a+"+ 3 abc\n", a)
	f.Add(form+byteOrder()+"\n+ 1 a\n", b)
	f.Add("", a)
	f.Fuzz(func(t *testing.T, stored, now string) {
		for _, now := range []string{now, a, b} {
			err := Compare(stored, now)
			if (err == nil) != (stored == now) {
				t.Fatalf("%v, for %q and %q", err, stored, now)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Fatalf("the message has %d bytes", len(err.Error()))
			}
		}
	})
}
