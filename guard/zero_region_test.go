package guard

import (
	"reflect"
	"strings"
	"testing"
)

// TestOutsideZeroRegion calls every method of a zero and a nil Region.
func TestOutsideZeroRegion(t *testing.T) {
	for _, r := range []*Region{{}, nil} {
		v := reflect.ValueOf(r)
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			if name == "Base" || name == "Size" || name == "Bytes" || name == "Reserved" {
				continue
			}
			var args []reflect.Value
			for j := range v.Method(i).Type().NumIn() {
				args = append(args, reflect.Zero(v.Method(i).Type().In(j)))
			}
			func() {
				defer func() {
					if got, ok := recover().(*Violation); !ok || got.Kind != ZeroValue || got.Detail != "guard.Reserve makes a Region" {
						t.Errorf("%s of %v: %v", name, r, got)
					}
				}()
				v.Method(i).Call(args)
			}()
		}
	}
	if r := new(Region); r.Base() != nil || r.Size() != 0 || len(r.Bytes()) != 0 || r.Reserved() != 0 {
		t.Error("a zero Region has something")
	}
	if s := (&Violation{Op: "guard.Close", Kind: ZeroValue, Detail: "guard.Reserve makes a Region"}).Error(); !strings.Contains(s, "guard.Reserve") {
		t.Error(s)
	}
}
