package native

import (
	"errors"
	"runtime"
	"testing"
)

// code is a function in machine code for both architectures.
type code struct{ amd64, arm64 []byte }

func (c code) load(t testing.TB) Func {
	t.Helper()
	b := c.amd64
	if runtime.GOARCH == "arm64" {
		b = c.arm64
	}
	loaded, err := LoadCode(b)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	})
	return loaded.Func(0)
}

var (
	returns = code{[]byte{0xc3}, []byte{0xc0, 0x03, 0x5f, 0xd6}} // ret
	// Calls itself for ever: call . / stp x29, x30, [sp, #-16]!; bl .-4
	forever = code{[]byte{0xe8, 0xfb, 0xff, 0xff, 0xff}, []byte{0xfd, 0x7b, 0xbf, 0xa9, 0xff, 0xff, 0xff, 0x97}}
)
