// Package ipc makes the system calls of the mechanisms between processes that offheap itself does not use, so that the
// command can measure them beside package ring: System V message queues and shared memory, POSIX message queues, the
// size of a pipe's buffer, pairs of sockets. Only the command imports it; programs that use the library do not have
// these calls in them.
//
// # What outlives a process
//
//	                  named by          removed by       until then it outlives
//	Queue             a number          Queue.Remove     every process
//	Segment           a number          Segment.Remove   every process
//	POSIX queue       a name            RemoveMail       every process; the queue itself its last descriptor
//	pipe, sockets     nothing           the last Close   nothing
//
// A Segment that is removed while it is attached stays for those that have attached it, and others may still attach it
// by its number. A POSIX queue whose name is removed stays for its descriptors. So both can be removed before they are
// used, and are then gone with the last process, however it ends. A Queue cannot: its number is all there is.
//
// # Systems
//
// Linux alone. Elsewhere all calls return an error that wraps errors.ErrUnsupported.
//
// # Failing on purpose
//
// All calls but Detach count as vm.IPC for vm.Inject.
package ipc

import (
	"errors"
	"unsafe"
)

// TypeSize is how many bytes at the start of a message's buffer a Queue takes for the message's type, a C long.
const TypeSize = int(unsafe.Sizeof(uintptr(0)))

// ErrWouldWait is the error of a call that may not wait and has nothing to receive, or no room to send.
var ErrWouldWait = errors.New("the queue is not ready")

// Queue is the number of a System V message queue.
type Queue int

// Segment is the number of a piece of System V shared memory.
type Segment int
