// Package cache is a concurrent cache outside the Go heap: keys and values are bytes, and the garbage collector sees none of
// them. With a Limit it evicts entries to stay within it; without one it is a concurrent table of bytes.
//
// # Memory
//
//	hash ──▶ shard   ┌──────────────────────────────────────────────┐
//	                 │ lock                                         │
//	                 │ index: hash ──▶ place of the entry, 6 bytes  │
//	                 │                                              │
//	                 │ log    ┌─────────┬─────────┬─ ─┬─────────┐   │
//	                 │ small  │ segment │ segment │   │ segment │ ◀─── new entries
//	                 │        └─────────┴─────────┴─ ─┴─────────┘   │
//	                 │        ┌─────────┬─────────┬─ ─┬─────────┐   │
//	                 │ main   │ segment │ segment │   │ segment │ ◀─── entries that stay
//	                 │        └─────────┴─────────┴─ ─┴─────────┘   │
//	                 └──────────────────────────────────────────────┘
//	entry            ┌──────────┬────────────────┬─────┬───────┐
//	                 │ header 8 │ deadline 8, if │ key │ value │   rounded up to 16 bytes
//	                 └──────────┴────────────────┴─────┴───────┘
//
// Entries lie one behind the other in segments of 16 to 64 KiB, which are objects of a slab.Heap. So entries of all sizes share
// memory, and the order of the log is the order of the queues of the policy. An entry of more than a quarter of a segment has
// an object of its own, and only a number in the log. A cache has a shard for each 4 MiB of its Limit, up to 128, which share the memory.
//
// # Life of an entry
//
//  1. Set writes the entry to the end of the log, and its place to the index. A Set of a key that is there, of the same
//     size when rounded up, overwrites it in place.
//  2. Get hashes the key, locks the shard, reads one line of the index, compares the key of the entry, and copies the value. It
//     counts the hit in the entry's header.
//  3. An entry that is deleted, replaced or has expired is dead. A segment whose entries are all dead is free. When an eighth
//     of the log is dead, Sets copy live entries out of the segments that have most dead memory, a few at a time.
//  4. When the heap has no memory any more, the shard looks at its oldest entries, a few with each Set, ahead of need. It keeps
//     those that were hit often, by a copy at the beginning of main, and evicts the others. policy.go has the rules. It remembers
//     the keys that went out: ghosts, some 4 bytes for each entry of the cache.
//  5. When sizes shift, memory serves the new ones: the index and the ghosts give back what they no longer need, and entries with objects
//     of their own are moved together (repack.go).
//  6. View, Update, Scan and the like pin an entry: its segment stays, unchanged, until the last of them ends, whatever becomes
//     of the entry.
//  7. Entries with a TTL expire by a clock that no change of the wall clock moves. Get does not find them from then on; each Set
//     looks at a few entries, and removes those that have expired.
//
// # Concurrency
//
//  1. Any number of goroutines may call all methods at once.
//  2. A call that concerns one key takes effect at one moment. A value is never torn, and never of another key.
//  3. No lock is held while code of the user runs: the functions of View and Update, OnEvict, loops, the io.Writer and
//     io.Reader of a snapshot, Budget.OnSoft. They may call the cache, and may panic.
//  4. Calls that concern many entries (Len, Reset, All, Scan, Stats, WriteTo, ReadFrom) go from shard to shard: what they see
//     and do is not of one moment.
//  5. After Close calls miss, or return an error that wraps guard.ErrClosed. Nothing faults.
//
// # Errors
//
// Set and its like return errors that wrap ErrTooLarge, guard.ErrNoMemory or guard.ErrClosed. Then the key has what it had. A
// nil or zero Cache is a *guard.Violation. A nil function, Cursor, Reader or Writer is Go's own panic, where it is used first.
//
// # Cost
//
// A Get takes two cache misses. A million entries of 16 and 100 bytes take 1.22 times their bytes: 8 for the header, 8 for the
// index. On the Go heap there are books of half a byte an entry, without pointers, so a collection takes the same time whatever
// the cache holds. With a Limit of 64 MiB and more, and without one, the memory has huge pages.
//
// # What it does not do
//
// It does not write to a disk (WriteTo does when told), and has no goroutine of its own but while ReadFrom runs. Keys are compared as bytes. Values of more
// than 16 KiB (4 KiB if the Limit is below 4 MiB) use the Limit less well: their memory has size classes, see slab.Config.Limit.
package cache
