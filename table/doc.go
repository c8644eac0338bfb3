// Package table has hash tables outside the Go heap, for maps so large that the garbage collector
// should not scan them. All memory of a table is in an arena (package arena): the table allocates it there
// as it grows, and the arena frees it with its other objects.
//
//	Map[K, V]   keys and values of any type without Go pointers
//	Strings[V]  keys are strings, which the table copies
//	Concurrent  a Map for any number of goroutines
//
// A table keeps its speed and its memory in whatever order entries come and go, and no insertion waits for a
// whole table to be copied.
//
// # Words
//
//	slot         the place of an entry: its key and its value
//	tag          7 bits of an entry's hash
//	group        15 slots and a header, which has the tags of the entries in the slots
//	block        some groups in a row; all blocks of a table are equally large
//	leaf         the entries whose hashes end in certain bits, and the blocks that hold them: none to some tens
//	directory    the leaves, each with the numbers of its blocks
//	home         the group of a leaf where an entry belongs, by the upper half of its hash
//	displaced    said of an entry whose home was full: it lies in one of the next groups
//	split        one leaf becomes two, by one more bit of the hashes
//	load         entries over slots
//
// # Memory
//
//	hash                 63          32 31  30 … 24  23           0
//	                     │ home in leaf │ │   tag   │   …   leaf   │
//
//	root ──▶ directory   ┌──────────────────────────────────────┐
//	                     │ groups, entries, blocks 7 4 9 …      │ leaf 0: hashes that end in 00
//	                     │ groups, entries, blocks 2 5 …        │ leaf 1: hashes that end in 01
//	                     │ …                                    │
//	                     └───────────────────────────│──────────┘
//	                                                 ▼
//	block                ┌────┬──────────┬────┬──────────┬─ ─ ┬────┬──────────┐
//	                     │ h0 │ 15 slots │ h1 │ 15 slots │    │h15 │ 15 slots │
//	                     └────┴──────────┴────┴──────────┴─ ─ ┴────┴──────────┘
//	header, 16 bytes     15 tags, a byte each, 0 for a free slot; and a byte that says which
//	                     entries passed the group because it was full
//
// A block of a large table is 4 KiB, 16 groups, if entries have 16 bytes. Larger entries make blocks of 4
// groups and some KiB, very large ones of a single group. A small table has one leaf, whose blocks are single
// groups first and 4 groups later.
//
// Everything that changes is in the arena, and refers to the rest by offsets from the root. On the Go heap is
// an object of a few hundred bytes, which leads to the root.
//
// # A search
//
//  1. The key is hashed, with a secret of the table.
//  2. The lowest bits of the hash choose the leaf. Its line in the directory has 256 bytes, of which a search
//     reads 8 and the number of one block. A table with 10 million entries of 16 bytes has a directory of a
//     megabyte, which mostly stays in the processor's cache.
//  3. The upper half of the hash chooses the home among the leaf's groups: half · groups / 2^32.
//  4. The header of the home is read, and beside it, if entries have at most 16 bytes, the cache line of the group in
//     which the entry probably lies: two cache misses at a time. All 15 tags are compared at once.
//  5. If a tag is equal, its slot is read: of small entries mostly in the line that was asked for. If its key is equal, the
//     entry is found. One of 10 searches meets an equal tag of another key, and looks at one slot more.
//  6. Otherwise a bit in the header says whether an entry with such a hash may have passed the group. If none
//     has, the key is not there. If one has, the next group is looked at, after the last one of the leaf the
//     first one. There only displaced entries can be equal; a bit beside the tag tells them.
//
// A search that finds its key looks at 1.1 groups on average, one that does not at 1.2 to 1.4, by the load.
//
// # Insertion and deletion
//
// An entry goes to the first free slot from its home on, and sets a bit in each group that it passes. Deletion clears the bits that
// no other entry needs. If the group has a second free slot then, and entries have passed it, one of those moves there, from the next eight
// groups, and another one into its slot, and so on. So deletion leaves no mark behind that would make searches longer, and entries stay near their
// homes. The first free slot waits for the next insertion: most deletions move nothing.
//
// # Growth
//
// Each leaf grows and shrinks alone:
//
//  1. A leaf grows by about an eighth when its load would exceed 0.91. It gives blocks back when its load would be
//     under 0.80 with two blocks less, and all when it has no entries. The blocks that it keeps stay in their
//     places: its entries move among them, one group after another in an order in which the new home was
//     emptied before. That takes some 50 µs for a leaf with 4,000 entries.
//  2. Blocks that a leaf gives back serve any other leaf. All blocks are equal, so nothing is fragmented.
//  3. If no block is free, the arena gives the table a 256th of the blocks that it has, or one.
//  4. Leaves are split one at a time, in the order of their numbers (linear hashing). It begins when all leaves
//     have as many entries as 20 blocks hold. Then every 8th insertion splits one, until there are twice as
//     many. So the directory grows by a line at a time, and no insertion does more than rebuild one or two
//     leaves. Only the directory itself is copied when it is full: 256 bytes for some 2,000 to 4,000 entries.
//
// # Any order of deletion
//
// Evictors and expiry sweeps delete in some order: of age, of the iteration, at random. In a table whose groups
// are a single row a sweep empties one stretch while insertions fill all others: they overflow, and searches
// pass hundreds of groups. Here the load is bounded in each leaf: one that is emptied gives its blocks to those
// that fill. And an iteration goes through a leaf in several passes, by tag, so that deletion empties all of
// its groups alike.
//
// # Constant size
//
// An insertion after a deletion does not fail, nor does one before the table has as many entries as its hint,
// however full the arena is. Let s be the slots of a block. An insertion first makes sure that
//
//	entries < blocks · s − (leaves − 1) · (s − 1)
//
// and asks the arena for blocks if not: only this can fail. Now let an insertion meet a leaf that is full while no
// block is free. If each of the other leaves had at most s−1 free slots, the table would have as many entries as
// the right side says, or more. So one of them has s free slots: it is rebuilt with a block less, and the full leaf
// gets that block. A table at the limit of its memory has a higher load, and moves blocks more often.
//
// There is one exception. A leaf has a line in the directory for so many blocks and no more. It may need more
// if a program empties other leaves, and inserts, for long enough: if it deletes what a new Scan meets first,
// again and again. Such a leaf is split before its turn, which takes memory. So go on with the same Cursor, or
// use All or Sample. And a Strings whose keys change in length may need memory for their bytes.
//
// # Iteration
//
// All, Keys, Values and Scan go through the hashes in an order that depends neither on the number of leaves nor
// on where entries lie in memory. So no entry comes twice and none is missed, whatever is inserted, deleted,
// split or rebuilt meanwhile:
//
//  1. The bits that choose the leaf come first, read backwards: a leaf that is split becomes two neighbours in its
//     place.
//  2. Then come three bits of the tag: several passes through a leaf.
//  3. Then comes the upper half of the hash, as groups are ordered.
//
// A Cursor is a place in this order. All begins at a random entry, Scan with a zero Cursor at the beginning. An
// iteration notes the keys of some groups, or of a leaf, on the Go heap, and then visits their entries. If the
// table has changed meanwhile, it searches for each key. So an entry that was deleted does not come, and a
// value is the current one.
//
// # Many goroutines
//
// A Concurrent consists of shards, 32 or more. Each shard is a table of its own, as this page describes it,
// with a lock and a counter on the Go heap. All shards share the arena's memory. Their blocks have the size of those
// of a large table from the beginning: so a shard that is refused memory can take a block of any other.
//
//	hash ──▶ shard ──▶ leaf ──▶ group ──▶ slot
//
// What calls do:
//
//  1. A change locks the shard of its key, and moves the counter before and after.
//  2. A search takes no lock. It looks at the counter, searches, copies the value, and looks at the counter
//     again. If that has moved, it begins anew, and after some tries it takes the lock. What it reads meanwhile
//     may be torn, but is memory of the arena.
//  3. An iteration copies some entries under the lock of their shard, and visits them without it.
//
// # Keys of Strings
//
// The bytes of keys are in memory of their own, which the table takes from the arena as it grows. The memory of a
// deleted key is used again, for keys of any length: short keys of one size share slabs of 4 KiB, long ones have a
// stretch each (table/internal/keys). An entry has 16 bytes for its key: where its bytes are, how many, and half of
// their hash. So a search seldom reads the bytes of another key, and a leaf is rebuilt without reading any.
//
// # Life
//
//  1. NewMap or NewStrings makes an empty table in an arena, with room for a number of entries if that is
//     known.
//  2. Put, Add, Entry and Delete change it. Insertions allocate in the arena. Clear empties it, and keeps its
//     memory.
//  3. Shrink makes a table fit that has lost many of its entries.
//  4. The arena's Reset or Close, or a Rewind that frees memory of the table, ends it: using the table
//     afterwards is a *guard.Violation. OnReset callbacks of the arena may still use the table.
//
// There is nothing to close: a table holds only memory of the arena, and its object on the Go heap.
//
// # A name without a pointer
//
// Ref names a table in 8 bytes that may lie in the arena, and Attach makes a Map of it again, AttachStrings a
// Strings. The table has a description of its entries' fields with it: Attach refuses other types, and names the
// first field that differs. Names, kinds, sizes and places of fields count; names of types do not. Hashes depend on
// nothing but the table, so another process finds the same entries: arena.OpenIn opens an arena in shared memory (example
// SharedMemory) or in a mapped file (example File). In one process Attach serves programs that keep Refs in the arena.
//
// # Concurrency
//
//  1. A Map or a Strings is for one goroutine at a time, and so is its arena. A Concurrent is for any number:
//     its comment has the promises.
//  2. Several goroutines may search and iterate at once (Get, GetBatch, Lookup, All, Scan with a Cursor for
//     each, Sample, Len) while none changes the table, nor resets, rewinds or closes its arena.
//  3. Pointers that Lookup and Entry return are valid until the next insertion, deletion, Clear or Shrink.
//  4. All Maps and Strings that are attached to one table count as one.
//
// # Errors and panics
//
//  1. If the table must grow and the arena is full, TryPut, TryAdd, TryEntry and TryNewMap return an error that
//     wraps guard.ErrNoMemory. The table has the entries that it had. Put, Add, Entry and NewMap panic with
//     that error.
//  2. NewMap and NewStrings panic if a type contains Go pointers, with an error that names the field. A
//     negative hint is an error.
//  3. A call that fails keeps nothing of the arena.
//  4. Attach returns an error that wraps ErrLayout if the types differ.
//  5. Using a table that no NewMap, NewStrings or Attach made is a *guard.Violation, nil included; only Get and
//     Lookup of a nil *Map are Go's own nil pointer panic.
//  6. Delete, Clear, Shrink, searches and iterations never fail.
//
// # Cost
//
// A hit takes two cache misses in a large table, header and slot. Get and Lookup of a Map
// are inlined up to one call. GetBatch overlaps the cache misses of many searches. With huge pages
// (arena.Config.HugePages) the processor seldom has to look an address up. An insertion takes a search more, and
// one in some hundred rebuilds a leaf. See Map for the memory, and bench/RESULTS.md for times beside Go's map.
//
// # What it does not do
//
// Blocks go from one leaf to another, and never back to the arena: the arena's Reset frees them. The same holds for
// the first blocks of a table that grew: a table of some hundred entries gets larger ones twice, and leaves the
// smaller ones behind.
//
// A table has at most 256 GiB of its arena's addresses, 2^31 leaves, and entries of up to 4 MiB.
package table
