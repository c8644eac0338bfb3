//go:build unix && !linux && !aix

package ipc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func unsupported(what string) error {
	return fmt.Errorf("%s: on %s offheap makes no such calls: %w", what, runtime.GOOS, errors.ErrUnsupported)
}

const (
	queues   = "System V message queues"
	segments = "System V shared memory"
	mail     = "POSIX message queues"
)

func CreateQueue() (Queue, error)                             { return 0, unsupported(queues) }
func (Queue) Send([]byte, bool) error                         { return unsupported(queues) }
func (Queue) Receive([]byte, bool) (int, error)               { return 0, unsupported(queues) }
func (Queue) Remove() error                                   { return unsupported(queues) }
func CreateSegment(int) (Segment, error)                      { return 0, unsupported(segments) }
func (Segment) Attach(unsafe.Pointer) (unsafe.Pointer, error) { return nil, unsupported(segments) }
func Detach(unsafe.Pointer) error                             { return unsupported(segments) }
func (Segment) Remove() error                                 { return unsupported(segments) }
func CreateMail(string, int, int) (*os.File, error)           { return nil, unsupported(mail) }
func OpenMail(string) (*os.File, error)                       { return nil, unsupported(mail) }
func RemoveMail(string) error                                 { return unsupported(mail) }
func SendMail(int, []byte, bool) error                        { return unsupported(mail) }
func ReceiveMail(int, []byte, bool) (int, error)              { return 0, unsupported(mail) }
func SetPipeSize(*os.File, int) (int, error)                  { return 0, unsupported("the size of a pipe") }
func Sockets(bool) (a, b *os.File, err error)                 { return nil, nil, unsupported("pairs of Unix sockets") }
func TryRead(syscall.Conn, []byte) (int, error)               { return 0, unsupported("such reading") }
