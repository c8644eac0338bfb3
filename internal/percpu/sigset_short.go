//go:build darwin || openbsd

package percpu

type sigset uint32
