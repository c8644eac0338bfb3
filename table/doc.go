// Package table has hash tables outside the Go heap, for maps so large that the garbage collector
// should not scan them. All memory of a table is in an arena (package arena): it is allocated there as
// the table grows, and freed with the arena's other objects.
//
//	Map[K, V]   keys and values of any type without Go pointers
//	Strings[V]  keys are strings, which the table copies
//
// # Memory
//
// Entries lie in groups of 15 slots. A group has a header of 16 bytes, apart from its slots. The header
// has a tag for each slot, and counts the entries that the group had no room for.
//
//	headers   ┌──────┬──────┬──────┬──────┬ ─ ─        hash ──▶ home = hash · groups / 2^64
//	          │ 15+1 │ 15+1 │ 15+1 │ 15+1 │
//	slots     ├──────┼──────┼──────┼──────┼ ─ ─        groups are in the order of hashes
//	          │ k v… │ k v… │ k v… │ k v… │
//	          └──────┴──────┴──────┴──────┴ ─ ─
//
// The words:
//
//   - The home of a hash is the group where a search for it begins.
//   - An entry whose home is full overflows into the next group that has a free slot. It is displaced
//     there, and every group that it passed counts one overflow.
//   - A tag is 7 bits of the hash, and one bit that says whether the entry is displaced.
//
// A search compares all tags of a group at once. It goes on to the next group only if the group's
// overflow count is not zero. So deletion leaves nothing behind that would make searches longer. It
// fills the slot that it empties with a displaced entry of the next groups.
//
// # Growth
//
// A table grows by an eighth at a time, small ones double. It is laid out anew from the front: each
// insertion moves at most one group from the current layout to the next one, and the memory of groups
// that were moved is used again by the next layout. A boundary in the hashes says which layout an
// entry is in. So the load of a large table stays near 86 % while it grows, whatever the number of
// entries, and no insertion waits for a whole table to be copied.
//
// # Life
//
//  1. NewMap or NewStrings makes an empty table in an arena, with room for a number of entries if that
//     is known.
//  2. Put, Entry and Delete change it. Insertions allocate in the arena.
//  3. The arena's Reset or Close, or a Rewind that frees memory of the table, ends it: using the table
//     afterwards is a *guard.Violation. OnReset callbacks of the arena may still use the table.
//
// There is nothing to close: a table holds only memory of the arena, and an object of a few hundred
// bytes on the Go heap.
//
// # Concurrency
//
//  1. A table is for one goroutine at a time, and so is its arena.
//  2. Several goroutines may search and iterate at once while none changes the table, nor resets, rewinds
//     or closes its arena.
//  3. Pointers that Lookup and Entry return are valid until the next insertion or deletion.
//
// # Errors and panics
//
// Put and Entry panic with an error that wraps guard.ErrNoMemory if the table must grow and the arena
// is full; TryPut and TryEntry return the error, and the table has the entries that it had. Types with
// Go pointers are refused by NewMap and NewStrings, with a panic that names the field. Using a table
// that no NewMap or NewStrings made is a *guard.Violation, nil included; only Get and Lookup of a nil
// *Map are Go's own nil pointer panic.
//
// # Cost
//
// A search takes two cache misses in a large table: header and slot. Get and Lookup of a Map are inlined
// up to one call. From 100,000 entries of 16 bytes or more on, a table takes at most 1.3 times the bytes
// of its entries, also while it grows. See Map for smaller ones.
//
// # What it does not do
//
// A table does not shrink. Its memory becomes free when the arena is reset, and not before: the old slots of a
// table that doubled, and the keys that Strings deleted, stay in the arena until then. No call empties a table:
// make a new one.
package table
