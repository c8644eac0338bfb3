//go:build !linux || !(amd64 || arm64)

package trap

func publish(a *Area) { areas = a }

func install() error { return errUnsupported }

// Call is never reached: see Install.
func Call(b *Block, fn, sp uintptr, a *Args) { panic(errUnsupported) }

// CallF is never reached: see Install.
func CallF(b *Block, fn, sp uintptr, a *Args) { panic(errUnsupported) }
