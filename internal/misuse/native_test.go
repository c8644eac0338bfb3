package misuse

import (
	"runtime"

	"github.com/seed-9a6c551e/offheap/stack"
	"github.com/seed-9a6c551e/offheap/stack/native"
)

// inNative expects a violation of a stack in a call of package native.
func inNative(op, what string) outcomes { return plainly(violates("native."+op, what, "stacks", "#")) }

// endless returns machine code that calls itself for ever.
func endless() []byte {
	if runtime.GOARCH == "arm64" {
		return []byte{0xfd, 0x7b, 0xbf, 0xa9, 0xff, 0xff, 0xff, 0x97} // stp x29, x30, [sp, #-16]!; bl itself
	}
	return []byte{0xe8, 0xfb, 0xff, 0xff, 0xff} // call itself
}

var nativeMisuse = []misuse{
	{"Func of a zero Code", func(w *world) { new(native.Code).Func(0) }, plainly(`violation: native.Func: use of a zero value: native.LoadCode makes a Code`)},
	{"Func of a zero Object", func(w *world) { new(native.Object).Func("f") }, plainly(`violation: native.Func: use of a zero value: native.LoadObject makes an Object`)},
	{"Call on a zero Stack", func(w *world) { native.Call(new(stack.Stack), 0) },
		plainly(violates("native.Call", "use of a zero value: Pool.Get makes a Stack", "", "0"))},
	{"Call with seven arguments", func(w *world) {
		_, err := native.Call(w.get(w.stacks("stacks")), 0, 1, 2, 3, 4, 5, 6, 7)
		w.must(err)
	}, plainly("error: native: call: 7 arguments are more than 6")},
	{"CallF with nine arguments", func(w *world) {
		_, err := native.CallF(w.get(w.stacks("stacks")), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		w.must(err)
	}, plainly("error: native: call: 9 arguments are more than 8")},
	{"Close of a Code twice", func(w *world) {
		code, err := native.LoadCode(endless())
		w.must(err)
		w.must(code.Close())
		w.must(code.Close())
	}, plainly(`error: guard: close region "code": closed`)},
	{"LoadCode of no code", func(w *world) {
		_, err := native.LoadCode(nil)
		w.must(err)
	}, plainly("error: native: load code: there is none")},
	{"Call after Put", func(w *world) { native.Call(w.idle(), 0) }, inNative("Call", afterPut)},
	{"CallF after Put", func(w *world) { native.CallF(w.idle(), 0) }, inNative("CallF", afterPut)},
	{"Call after Close", func(w *world) { _, s, _ := w.shut(); native.Call(s, 0) }, inNative("Call", poolIsClosed)},
	{"native code that does not end", func(w *world) {
		s := w.get(w.stacks("stacks"))
		code, err := native.LoadCode(endless())
		w.must(err)
		w.then(code.Close)
		_, err = native.Call(s, code.Func(0))
		w.must(err)
	}, plainly(`fault: guard: stack overflow in region "stacks": address 0xADDR, offset # of #, at instruction 0xADDR`)},
	{"native code that is closed", func(w *world) {
		s := w.get(w.stacks("stacks"))
		code, err := native.LoadCode(endless())
		w.must(err)
		f := code.Func(0)
		w.must(code.Close())
		_, err = native.Call(s, f)
		w.must(err)
	}, plainly(`fault: guard: use after close in region "code": address 0xADDR, offset 0 of #, at instruction 0xADDR`)},
	{"Func outside of the code", func(w *world) {
		code, err := native.LoadCode(endless())
		w.must(err)
		w.then(code.Close)
		code.Func(100)
	}, plainly("panic: native: code of # bytes has no instruction at offset 100")},
}
