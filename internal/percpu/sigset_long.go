//go:build freebsd || netbsd

package percpu

type sigset [4]uint32
