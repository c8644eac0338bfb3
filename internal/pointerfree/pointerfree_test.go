package pointerfree

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

type customer struct {
	ID   int
	Name string
}

type order struct {
	Lines    [4]struct{ Price float64 }
	Customer customer
}

func TestTrusted(t *testing.T) {
	if !Trusted {
		t.Fatal("the runtime's type descriptors are not laid out as this package believes; it works, but slower")
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for _, c := range []struct {
		t    reflect.Type
		want string
	}{
		{reflect.TypeFor[order](), "pointerfree.order cannot live outside the Go heap: order.Customer.Name is a string, and the garbage collector does not see pointers there"},
		{reflect.TypeFor[*int](), "*int cannot live outside the Go heap: it is a pointer, and the garbage collector does not see pointers there"},
		{reflect.TypeFor[[2][]byte](), "[2][]uint8 cannot live outside the Go heap: [2][]uint8[0] is a slice ([]uint8), and the garbage collector does not see pointers there"},
		{reflect.TypeFor[error](), "error cannot live outside the Go heap: it is an interface, and the garbage collector does not see pointers there"},
		{reflect.TypeFor[time.Time](), "time.Time cannot live outside the Go heap: Time.loc is a pointer (*time.Location), and the garbage collector does not see pointers there"},
		{reflect.TypeFor[struct{ F func() }](), "struct { F func() } cannot live outside the Go heap: struct { F func() }.F is a func (func()), and the garbage collector does not see pointers there"},
	} {
		for range 2 { // the second call uses the stored result
			err := Check(c.t)
			var pe *PointerError
			if !errors.As(err, &pe) || err.Error() != c.want {
				t.Errorf("%v:\n got %v\nwant %s", c.t, err, c.want)
			}
		}
	}
	for _, clean := range []reflect.Type{reflect.TypeFor[int](), reflect.TypeFor[[8]complex128](), reflect.TypeFor[struct{}](), reflect.TypeFor[[0]*int]()} {
		if err := Check(clean); err != nil {
			t.Errorf("%v: %v", clean, err)
		}
	}
}

func TestWordsAgreeWithCheck(t *testing.T) {
	for _, p := range []any{(*int)(nil), (*order)(nil), (*customer)(nil), (*time.Time)(nil), (*time.Duration)(nil), (*[100]order)(nil)} {
		typ := reflect.TypeOf(p).Elem()
		if (Words(p) != 0) != (Check(typ) != nil) {
			t.Errorf("%v: Words says %d, Check says %v", typ, Words(p), Check(typ))
		}
	}
}
