// Package workload has what the benchmarks of the command and those of module bench share: the objects
// that they draw, and the memory that the process takes for them.
//
//	command offheap ──▶ workload ◀── module bench
//
// # Draws
//
// Random is a generator with a seed. From each of its numbers a benchmark takes a place (Below) and
// an object size (SizeIndex, Size). The drivers for C allocators draw the same numbers, to the bit, so
// equal check values prove that the work was the same.
//
// # Memory
//
// Resident, Peak and RestartPeak read what the kernel says of this process. They return -1 on systems
// that do not tell.
//
// # Concurrency
//
// A Random is for one goroutine. The functions are for any number; the peak is the whole process's.
package workload
