// Package ring passes messages between processes, or goroutines, through shared memory. As long as both sides run, a message costs
// some nanoseconds and no system call: what one side has written, the other reads where it lies. A side that has nothing to do
// sleeps, and the kernel tells it when the other process has died.
//
// # Memory
//
//	shm.Memory
//	┌──────────────────────────────┬──────────────────────────────────────────────┐
//	│ header: an OS page           │ data: Config.Size, a power of two            │
//	└──────────────────────────────┴──────────────────────────────────────────────┘
//	   producer        consumer
//	  ┌───────────┐   ┌───────────┐
//	  │ index     │   │ index     │   bytes sent, bytes received: each is stored by its own side only
//	  │ processor │   │ processor │   where the side runs, for the decision to spin
//	  │ asleep    │   │ asleep    │   1: wake me
//	  │ life      │   │ life      │   whether the side is open, closed, or its process dead
//	  └───────────┘   └───────────┘
//
//	the data, as each process maps it: twice in a row
//	┌─────────────────────────────────────┬─────────────────────────────────────┐
//	│ …ssage 4│  free  │msg 2│ msg 3│ me… │ …ssage 4│  free  │msg 2│ msg 3│ me… │
//	└─────────────────────────────────────┴─────────────────────────────────────┘
//	                                 └── message 4 is one slice ──┘
//
// Before each message are 8 bytes with its length, and it begins at a multiple of 8. Each side has private copies of both indices,
// and looks at the other's only where its own copy leaves it nothing to do.
//
// # Life
//
//  1. Create makes a ring. Ring.Memory is sent to another process (shm.Memory.Send, AppendFile), which receives it and calls Attach.
//  2. Ring.Producer and Ring.Consumer take one side each, in any process that has the memory; each is taken once. An OS
//     thread of the process, one for a thousand sides, tells the kernel that it lives.
//  3. Claim gives room in the ring, Publish sends what was written there; Send copies. Peek gives the next message where it lies, Release
//     gives its room back; Recv copies. All iterates. ClaimBatch and PublishBatch send several messages that are seen at once,
//     PeekBatch looks at several until one Release.
//  4. The producer shows messages in batches of a sixteenth of the ring, as a bufio.Writer does, and when it waits. Flush shows them at
//     once: call it when there is nothing more to send at the moment. The consumer gives room back in batches, too.
//  5. Close of the producer lets the consumer receive what is left, and then io.EOF. Close of the consumer gives the producer
//     ErrPeerClosed. Ring.Close closes both and unmaps the memory, which goes when the last process has closed it.
//
// # More than two
//
// FanIn receives from many producers, each with a ring of its own. Broadcast sends each message once to many readers, which cannot
// store to it. Conn makes a net.Conn of two rings.
//
// # Waiting
//
// A side that waits first spins, for at most 20 µs: if the other side runs on another processor, and spinning has paid before. Then it
// sets its word asleep, looks once more, and sleeps in the kernel (a futex). The other side makes a system call only if that word is
// set. A context that is done ends a wait, and so does PeerDied.
//
// The first 16 sides of a process that sleep at a time hold an OS thread each. More of them share threads, 42 sides each, and wake
// some 50 µs later: a thousand goroutines that wait for a thousand rings hold some 40 threads.
//
// # Death
//
// Where a process dies, by SIGKILL too, all that it has shown is received, and then there is ErrPeerDied: after some 0.1 ms for a small
// process, before its memory is freed. Messages that it had not shown are gone. The kernel notes the end of a thread that the process
// keeps for this (set_robust_list), and wakes the other side, which waits for two words (futex_waitv, Linux 5.16). Before Linux 5.16 a side that
// sleeps looks every 5 ms. Where the kernel or a sandbox does not serve set_robust_list, and for a process that dies before it has taken its side, tell it:
// call PeerDied after exec.Cmd.Wait, or at the end of a socket to the process. A stopped process (SIGSTOP) is waited for.
//
// # Trust
//
// Each process may store to all of the memory at any moment. So each shared word is read once, checked, and the copy used. A hostile
// peer can send nonsense, stop, or make calls fail with ErrCorrupt; it cannot make a call touch other memory, fault, or last longer than
// its context. A message from Peek may change while it is read: copy it first (Recv) if the peer is not trusted. The memory cannot be
// made shorter (package shm); memory that the program brings (CreateIn) may be.
//
// # Concurrency
//
//  1. One goroutine at a time uses a Producer, and one a Consumer; they may be different ones of one process.
//  2. PeerDied, Stats, FanIn.Add and FanIn.Len may be called by any goroutine at any time until Close.
//  3. What happens before Flush of a message happens before Peek of it returns. The race detector knows, if both sides are of one Ring.
//  4. Close comes last: nobody uses the ring, its sides or its messages after Ring.Close. To end a wait, cancel its context first.
//
// # Cost
//
// Messages allocate nothing on the Go heap; a new context that a side sleeps with does. Claim and Publish, or Peek and Release, are
// inlined: some 4 ns for both, without an atomic operation; and a batch takes an atomic store and a load of each side. Waking takes
// some microseconds. A Ring takes two file descriptors, and an OS page beside its header and its data.
// bench/RESULTS.md has figures, beside the same ring in C.
//
// # Systems
//
// Linux alone, also between goroutines of one process: elsewhere Create returns an error that wraps errors.ErrUnsupported.
package ring
