// Package index builds a full-text index twice, on the Go heap and off it, and measures both. It is the job
// of the command "compare index".
//
// # The job
//
// Every text file of a directory tree is a document, every run of letters and digits in it a word. For
// each word the index keeps the documents and positions where it occurs, and for each document its name
// and length. A query has one to three words. Its answer is the ten best documents that hold all of
// them (BM25, with a bonus for words that stand side by side). While queries are answered, documents are
// still added.
//
// # The parts
//
//	Survey ──▶ Corpus ──▶ Measure ──▶ Report      the same code for both sides
//	                        │  ▲
//	                    Add │  │ Postings, Document
//	                        ▼  │
//	               GoHeap or OffHeap               the Index: where memory comes from
//
//	corpus.go, queries.go    find the text files, and draw queries from them
//	words.go                 cut text into words
//	postings.go              the occurrences of a word as bytes
//	goheap.go, offheap.go    the two sides
//	search.go                answer a query from an Index
//	serve.go, figures.go     build, answer, and take the figures
//
// # Life cycle
//
//  1. Survey walks the tree, draws the queries, and so leaves the files in the page cache.
//  2. Measure, in a process of its own for each side, builds the index from nine tenths of the documents.
//  3. It answers the queries and adds the other documents in between.
//  4. It takes the figures and closes the index. The caller compares the answers of both sides.
//
// Both sides cut text, encode postings and answer queries by the same code. They differ only in the
// memory that their tables and bytes live in, so all answers must be equal.
//
// The queries are drawn with a fixed seed, and the documents are added at fixed places between them, so
// two runs over the same files give the same answers.
//
// # Concurrency
//
// A Corpus may be read by any number of goroutines. An Index, and a searcher over it, are for one.
//
// # Cost
//
// The harness puts little on the Go heap, so that the collector's work is the index's: file contents go
// through one buffer that is used again; names, queries, latencies and checksums lie in a few slices
// without pointers.
package index

import "fmt"

// Index is a full-text index of one side. It is for one goroutine.
type Index interface {
	// Add indexes text as the next document. Documents are numbered from 0. Add keeps
	// neither name nor text, and may turn text into lower case.
	Add(name, text []byte)

	// Postings returns the occurrences of a word; the zero Postings if there are none. They
	// are valid until the next Add.
	Postings(word []byte) Postings

	// Document returns a document's name and its length in words. The name is valid until Close.
	Document(number uint32) (name string, words uint32)

	// Size returns the number of documents and words that were added.
	Size() (documents int, words uint64)

	// Close frees the index.
	Close() error
}

// Side names a place where an index lives.
type Side string

const (
	GoHeap  Side = "go_heap"
	OffHeap Side = "offheap"
)

// Open returns an empty index. Its error says which side there is not, or why there is no memory.
func Open(side Side) (Index, error) {
	switch side {
	case GoHeap:
		return newGoHeap(), nil
	case OffHeap:
		return newOffHeap()
	}
	return nil, fmt.Errorf("index: there is no side %q", side)
}
