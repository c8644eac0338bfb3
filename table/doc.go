// Package table has hash tables whose memory is in an arena, for large maps that the garbage collector
// should not scan.
//
// # Memory
//
// A Map is a hash table. Entries lie in groups of 15 slots. A group has a header of 16 bytes, apart
// from the slots: for each a tag, 7 bits of the hash and whether the entry is a stray from a group
// before; and a count of the entries that went past the group because it was full. A search
// compares all tags at once, and goes on to the next group only if that count is not zero; so a
// deletion leaves nothing behind. It fills the slot that it empties with a stray, so a table
// through which entries come and go does not degrade.
//
//	headers   ┌──────┬──────┬──────┬──────┬ ─ ─        hash ──▶ home = hash · homes / 2^64
//	          │ 15+1 │ 15+1 │ 15+1 │ 15+1 │
//	slots     ├──────┼──────┼──────┼──────┼ ─ ─        groups are in the order of hashes
//	          │ k v… │ k v… │ k v… │ k v… │
//	          └──────┴──────┴──────┴──────┴ ─ ─
//
// A table grows by an eighth at a time (small ones by more). Because groups are in the order of
// hashes, it is stretched from the front: each insertion moves at most one group from the old scale
// to the new one, and the segments that the old scale leaves are used for the new. A boundary in
// the hashes says which scale an entry is on. So the load of a large table stays near 86 % while it
// grows, whatever the number of entries, and no insertion waits for a whole table to be copied. All
// of it is in the arena and without pointers.
package table
