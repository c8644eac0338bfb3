// Package index is a full-text index and the measure that is taken of it,
// once for each place where an index can live.
//
// # The task
//
// Every text file of a directory tree is a document, every run of letters and digits in it a
// word. The index knows for each word the documents and positions where it
// occurs, and for each document its name and length. Queries of one to three words are
// answered with the ten best documents that hold all the words (BM25, more for
// words that stand side by side), while documents keep being added.
//
// # Who does what
//
//	Survey ──▶ Corpus ──▶ Measure ──▶ Report      the same for both sides
//	                        │  ▲
//	                    Add │  │ Postings, Document
//	                        ▼  │
//	               GoHeap or OffHeap               the Index: where memory comes from
//
// Survey walks the tree, draws the queries and leaves the files in the page cache. Measure builds
// an index, serves the queries and takes the figures. How text is cut into words, how postings are
// written as bytes and how a query is answered is one code for both sides, so the sides differ only
// in where they keep what they know, and all answers must be equal.
//
// # Determinism
//
// The queries are drawn with a fixed seed, and the documents that are held back for serving
// are added at fixed places between them. Two runs over the same files give the same answers.
//
// # The harness's own memory
//
// File contents go through one buffer that is used again, and names, queries, latencies and
// checksums lie in a few pointer-free slices, so that the collector's work is the
// index's and not the harness's.
package index

import "fmt"

// Index is one side: a place where a full-text index lives. It is for one goroutine.
type Index interface {
	// Add indexes text as the next document; documents are numbered from 0. It keeps
	// neither name nor text, and may turn text into lower case.
	Add(name, text []byte)

	// Postings returns what is known of a word; the zero Postings if nothing. They
	// are valid until the next Add.
	Postings(word []byte) Postings

	// Document returns a document's name and its length in words. The name is valid until Close.
	Document(number uint32) (name string, words uint32)

	// Size returns how many documents and words were added.
	Size() (documents int, words uint64)

	// Close ends the use of the index.
	Close() error
}

// Side names a place where an index lives.
type Side string

const (
	GoHeap  Side = "go_heap"
	OffHeap Side = "offheap"
)

// Open returns an empty index of the named side.
func Open(side Side) (Index, error) {
	switch side {
	case GoHeap:
		return newGoHeap(), nil
	case OffHeap:
		return newOffHeap()
	}
	return nil, fmt.Errorf("index: there is no side %q", side)
}
