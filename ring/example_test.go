package ring_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/seed-9a6c551e/offheap/ring"
	"github.com/seed-9a6c551e/offheap/shm"
)

// One process creates a ring and sends it to another over a Unix socket. Here both are goroutines.
func Example() {
	here, there, err := sockets()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer here.Close()
	ctx := context.Background()

	received := make(chan error, 1)
	go func() { // the other process
		received <- func() error {
			defer there.Close()
			m, err := shm.Receive(there, shm.ReceiveConfig{})
			if err != nil {
				return err
			}
			r, err := ring.Attach(m)
			if err != nil {
				return errors.Join(err, m.Close())
			}
			defer r.Close()
			c, err := r.Consumer()
			if err != nil {
				return err
			}
			for message, err := range c.All(ctx) {
				if err != nil {
					return err
				}
				fmt.Printf("%s\n", message) // in place, without a copy
			}
			return nil
		}()
	}()

	r, err := ring.Create(ring.Config{Name: "prices"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	p, err := r.Producer()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Memory().Send(here); err != nil {
		fmt.Println(err)
		return
	}
	for _, price := range []int{2650, 2651} {
		room, err := p.Claim(ctx, 100) // in the ring itself
		if err != nil {
			fmt.Println(err)
			return
		}
		p.Publish(len(fmt.Appendf(room[:0], "gold %d", price)))
	}
	if err := errors.Join(p.Send(ctx, []byte("closed")), p.Close()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-received)
	// Output:
	// gold 2650
	// gold 2651
	// closed
	// <nil>
}

// Messages of a batch are written, seen and given back together.
func ExampleProducer_ClaimBatch() {
	r, err := ring.Create(ring.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	p, err := r.Producer()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := r.Consumer()
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	rooms := make([][]byte, 3)
	if err := p.ClaimBatch(ctx, 8, rooms); err != nil {
		fmt.Println(err)
		return
	}
	for i, room := range rooms {
		binary.LittleEndian.PutUint64(room, uint64(i))
	}
	p.PublishBatch(len(rooms))
	if err := p.Flush(); err != nil {
		fmt.Println(err)
		return
	}

	messages := make([][]byte, 100)
	n, err := c.PeekBatch(ctx, messages)
	fmt.Println(n, messages[:n], err)
	c.Release() // all of them
	// Output: 3 [[0 0 0 0 0 0 0 0] [1 0 0 0 0 0 0 0] [2 0 0 0 0 0 0 0]] <nil>
}

// A FanIn receives from producers of which each has a ring of its own.
func ExampleFanIn() {
	ctx := context.Background()
	var all ring.FanIn
	for i := range 3 {
		r, err := ring.Create(ring.Config{Size: 1 << 16})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer r.Close()
		c, err := r.Consumer()
		if err != nil {
			fmt.Println(err)
			return
		}
		p, err := r.Producer()
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := errors.Join(all.Add(c), p.Send(ctx, []byte{byte(i)}), p.Close()); err != nil {
			fmt.Println(err)
			return
		}
	}
	sum := 0
	for all.Len() > 0 {
		lane, err := all.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		message, err := lane.Recv(ctx, nil) // does not wait
		if err != nil {
			if err != io.EOF { // the lane has ended
				fmt.Println(err)
			}
			continue
		}
		sum += int(message[0])
	}
	fmt.Println(sum)
	// Output: 3
}

// A Broadcast sends one copy to all readers, which can only read.
func ExampleBroadcast() {
	here, there, err := sockets()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer here.Close()
	defer there.Close()
	ctx := context.Background()
	b, err := ring.CreateBroadcast(ring.Config{Name: "prices", Size: 1 << 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	for range 2 {
		data, cursor, err := b.AddReader()
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := errors.Join(data.Send(here), cursor.Send(here)); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := errors.Join(b.Send(ctx, []byte("gold 2650")), b.Flush()); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // each in a process of its own
		data, err := shm.Receive(there, shm.ReceiveConfig{})
		if err != nil {
			fmt.Println(err)
			return
		}
		cursor, err := shm.Receive(there, shm.ReceiveConfig{})
		if err != nil {
			fmt.Println(err)
			return
		}
		r, err := ring.AttachReader(data, cursor)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer r.Close()
		c, err := r.Consumer()
		if err != nil {
			fmt.Println(err)
			return
		}
		message, err := c.Peek(ctx)
		fmt.Printf("%s %v\n", message, err)
	}
	// Output:
	// gold 2650 <nil>
	// gold 2650 <nil>
}

// sockets returns both ends of a Unix socket.
func sockets() (a, b *net.UnixConn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			return nil, nil, err
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1], nil
}
