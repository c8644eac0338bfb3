// Package shm shares memory between processes: what one stores, the others see at once, without a copy and without a
// call. The memory is a region of package guard, between guards, and its bytes are charged to the budget of every process
// that maps it.
//
// # Memory
//
//	process A                                     process B
//	┌───────┬──────────────────────┬───────┐      ┌───────┬──────────────────────┬───────┐
//	│ guard │ Memory.Bytes         │ guard │      │ guard │ Memory.Bytes         │ guard │
//	└───────┴──────────┬───────────┴───────┘      └───────┴──────────┬───────────┴───────┘
//	                   └────────────── the same RAM ─────────────────┘
//
// Addresses differ from process to process. So pointers into the memory mean nothing to others: use offsets, such as
// arena.Ref and table.Ref. arena.OpenIn opens an arena in Memory.Region, for objects and tables.
//
// # Which call
//
//	the other process         this one                      that one
//	is started by this one    Create, Memory.AppendFile     Inherited
//	has a Unix socket to it   Create, Memory.Send           Receive
//	gets a text from it       CreateNamed, Memory.Name      OpenNamed
//
// # Life
//
//  1. Create makes memory, sets RAM aside for all of it, and seals it: nobody, the creator included, can make it shorter or
//     longer after that. So no touch of it faults, whatever other processes do.
//  2. Send gives it to another process over a Unix socket, AppendFile to a program that is to be started.
//  3. Receive and Inherited take it. They check the seals, the size and the owner before they map anything.
//  4. Close ends the use by this process. The memory goes when the last process has closed it, or ended.
//
// # Life of memory with a name
//
//  1. CreateNamed makes memory that is a file in /dev/shm, with a name that nobody can guess. The file appears there when
//     it has its RAM, and is for this user alone.
//  2. The program hands Memory.Name over: as an argument, in the environment, in a file that the other process knows.
//     Somebody must have the memory open until the other process has opened it.
//  3. OpenNamed checks the name, the owner, the mode and the size, and maps the memory.
//  4. Close ends the use by this process. The last Close removes the name. If the last process was killed, the next
//     CreateNamed of this user removes it. Whether a process lives is asked of a lock on the file that the kernel drops at its
//     death. No process number is stored anywhere.
//
// The container of a program often bounds /dev/shm: to 64 MiB, by default, under Docker. Beyond that CreateNamed
// returns an error that wraps guard.ErrNoMemory. Create has no such bound.
//
// # Trust
//
// With Config.PeersReadOnly, the others can read and nobody but the creator can store, whatever they do: the memory is
// sealed against new writable mappings, and their descriptor is for reading.
//
// Without it, every process may store at any moment, also between a check of a value and its use. Copy what you got from
// somebody whom you do not trust, check the copy, and use the copy. Whoever may store may also give memory back to the
// system (fallocate with a hole): it reads zero then, and takes RAM anew at the next touch.
//
// Memory with a name is for processes of one user that trust each other: any of them may make the file shorter, and then a
// touch faults (guard.Truncated).
//
// # Concurrency
//
//  1. Any number of goroutines may call the methods of a Memory at once.
//  2. The program synchronises access to the bytes itself, among goroutines and among processes. Atomic operations
//     work between processes as they do between goroutines.
//  3. The race detector does not look at shared memory.
//
// # Cost (Linux 6.18, x86-64)
//
//	Create                                  30 µs, and 0.28 ms a MiB to set RAM aside
//	CreateNamed                             60 µs, and as much a MiB
//	Send, Receive and Close                 40 µs together, whatever the size
//	OpenNamed and Close                     33 µs together, whatever the size
//	first touch of an OS page by a process  1.7 µs; Region.Prefetch does it ahead
//
// Every later touch costs what a touch of other memory costs. Two descriptors stay open for each Memory until Close.
//
// # Systems
//
// Linux alone (memfd_create: 3.17, PeersReadOnly: 5.1). On macOS, the BSDs and Solaris all calls return an error that wraps
// errors.ErrUnsupported. Files can be shared there with guard.MapFile.
package shm
