package shm

import (
	"fmt"
	"syscall"
	"testing"
)

// sizes are those that the package comment has figures of.
var sizes = []int{4 << 10, 1 << 20, 64 << 20}

// BenchmarkCreate makes memory and closes it.
func BenchmarkCreate(b *testing.B) {
	for _, size := range sizes {
		for what, create := range map[string]func(Config) (*Memory, error){"sealed": Create, "named": CreateNamed} {
			b.Run(fmt.Sprintf("%s/%dKiB", what, size>>10), func(b *testing.B) {
				for b.Loop() {
					m, err := create(Config{Size: size})
					mustDo(b, err)
					b.StopTimer()
					mustDo(b, m.Close())
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkSendReceive sends memory to the other end of a socket, which maps it and closes it.
func BenchmarkSendReceive(b *testing.B) {
	a, z := sockets(b, syscall.SOCK_STREAM)
	m := mustCreate(b, Config{Size: 1 << 20})
	for b.Loop() {
		mustDo(b, m.Send(a))
		got, err := Receive(z, ReceiveConfig{})
		mustDo(b, err, got.Close())
	}
}

// BenchmarkOpenNamed opens memory by its name and closes it.
func BenchmarkOpenNamed(b *testing.B) {
	m := mustCreateNamed(b, Config{Size: 1 << 20})
	for b.Loop() {
		got, err := OpenNamed(m.Name(), ReceiveConfig{})
		mustDo(b, err, got.Close())
	}
}

// BenchmarkFirstTouch stores one byte of each OS page of fresh memory.
func BenchmarkFirstTouch(b *testing.B) {
	const size = 16 << 20
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		m, err := Create(Config{Size: size})
		mustDo(b, err)
		b.StartTimer()
		for i := 0; i < size; i += 4096 {
			m.Bytes()[i] = 1
		}
		b.StopTimer()
		mustDo(b, m.Close())
		b.StartTimer()
	}
}
