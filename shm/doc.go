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
// arena.Ref and table.Ref: arena.OpenIn opens an arena in Memory.Region.
//
// # Life
//
//  1. Create makes memory, sets RAM aside for all of it, and seals it: nobody, the creator included, can make it shorter or
//     longer after that. So no touch of it can fail, whatever other processes do.
//  2. Send gives it to another process over a Unix socket, AppendFile to a program that is to be started.
//  3. Receive and Inherited take it. They check the seals, the size and the owner before they map anything.
//  4. Close ends the use by this process. The memory goes when the last process has closed it, or ended.
//
// # Trust
//
// With Config.PeersReadOnly, the others can read and nobody but the creator can store, whatever they do: the memory is
// sealed against new writable mappings, and their descriptor is for reading.
//
// Without it, every process may store at any moment, also between a check of a value and its use. Copy what you got from
// somebody whom you do not trust, check the copy, and use the copy.
//
// # Concurrency
//
//  1. Any number of goroutines may call the methods of a Memory at once.
//  2. The program synchronises access to the bytes itself, among goroutines and among processes. Atomic operations
//     work between processes as they do between goroutines.
//  3. The race detector does not look at shared memory.
//
// # Cost
//
// Create takes some microseconds, and the time to set RAM aside: 0.2 ms a MiB. Send and Receive are one system call each,
// and some more to check. Two descriptors stay open for each Memory until Close.
//
// # Systems
//
// Linux alone (memfd_create: 3.17, PeersReadOnly: 5.1). Elsewhere all calls return an error that wraps
// errors.ErrUnsupported; files can be shared there with guard.MapFile.
package shm
