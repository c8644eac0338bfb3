// Package workload is shared by the command and by module bench. It draws the objects of their benchmarks,
// and reads what the process takes of memory and processors.
//
//	command offheap ──▶ workload ◀── module bench
//
// # Draws
//
// Random is a generator with a seed. From each of its numbers a benchmark takes a place (Below) and
// an object size (SizeIndex, Size). The drivers for C allocators draw the same numbers, to the bit, so
// equal check values prove that the work was the same.
// Zipf draws the keys of benchmarks that ask for some more often than for others.
//
// # Memory
//
// Resident, Peak and RestartPeak read the kernel's figures of this process. They return -1 on systems
// that do not tell. ProcessorTime is what it has used of processors.
//
// # Concurrency
//
// A Random is for one goroutine. The functions are for any number; the peak is the whole process's.
package workload
