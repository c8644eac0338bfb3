package shm_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/seed-9a6c551e/offheap/shm"
)

// A server shares memory with a client over a Unix socket. Here both are one process.
func Example() {
	dir, err := os.MkdirTemp("", "shm")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	address := &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	served := make(chan error, 1)
	go func() { // the server
		served <- func() error {
			m, err := shm.Create(shm.Config{Name: "prices", Size: 1 << 20, PeersReadOnly: true})
			if err != nil {
				return err
			}
			defer m.Close()
			copy(m.Bytes(), "gold 2650")
			c, err := l.AcceptUnix()
			if err != nil {
				return err
			}
			defer c.Close()
			return m.Send(c)
		}()
	}()

	c, err := net.DialUnix("unix", nil, address) // the client
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	m, err := shm.Receive(c, shm.ReceiveConfig{Name: "prices"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	fmt.Println(string(m.Bytes()[:9]), m.Size(), m.ReadOnly(), <-served)
	// Output: gold 2650 1048576 true <nil>
}
