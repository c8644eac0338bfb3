package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// heldBack is the share of the documents that is added while queries are answered: the last tenth.
const heldBack = 10

// Report has the result of one side.
type Report struct {
	Figures Figures
	Bytes   int64    // of text that was indexed
	Answers []uint64 // the checksum of each answer, in the order of the queries
}

// Measure builds the index of one side, answers the corpus's queries from it and returns the figures.
// For each query it finds the answer and renders it as JSON in fresh memory of the Go heap, as a service
// does. So there is garbage to collect while the index lives, and the cost of that depends on the side.
//
// The figures are the whole process's, so it should have nothing else to do.
func Measure(side Side, c *Corpus, progress measure.Progress) (*Report, error) {
	index, err := Open(side)
	if err != nil {
		return nil, err
	}
	r, err := run(index, c, progress)
	return r, errors.Join(err, index.Close())
}

func run(index Index, c *Corpus, progress measure.Progress) (*Report, error) {
	documents, queries := c.Documents.Len(), c.Queries.Len()
	r := &Report{Answers: make([]uint64, queries)}
	latencies := make([]time.Duration, queries)
	feed := feed{index: index, corpus: c, reader: reader{dir: c.Dir}}

	runtime.GC()
	before := measure.ReadCollector()
	start := time.Now()
	if err := feed.upTo(due(documents, queries, -1), progress); err != nil {
		return nil, err
	}
	r.Figures.BuildSeconds = time.Since(start).Seconds()

	searcher := newSearcher(index)
	for i := range queries {
		progress("serving", i, queries)
		if err := feed.upTo(due(documents, queries, i), nil); err != nil {
			return nil, err
		}
		query := c.Queries.At(i)
		start := time.Now()
		answer, err := json.Marshal(searcher.search(query))
		latencies[i] = time.Since(start)
		if err != nil {
			return nil, err
		}
		r.Answers[i] = hash(answer)
	}
	after := measure.ReadCollector()
	r.Figures.setCollection(after.Since(&before))
	r.Figures.setLatencies(latencies)
	r.Figures.setMemory()
	r.Bytes = feed.bytes
	if r.Bytes != c.Bytes {
		return nil, fmt.Errorf("%s: the files changed while they were indexed: %d bytes became %d", c.Dir, c.Bytes, r.Bytes)
	}
	return r, nil
}

// due returns the number of documents that are in the index when query i is answered. Query -1 stands
// for the build; with the last query all documents are in.
func due(documents, queries, i int) int {
	held := documents / heldBack
	return documents - held + int(int64(held)*int64(i+1)/int64(queries))
}

// feed adds the documents to an index, in order.
type feed struct {
	index  Index
	corpus *Corpus
	reader reader
	added  int
	bytes  int64
}

// upTo adds documents until there are n. progress may be nil.
func (f *feed) upTo(n int, progress measure.Progress) error {
	for ; f.added < n; f.added++ {
		if progress != nil {
			progress("building", f.added, n)
		}
		name := f.corpus.Documents.At(f.added)
		text, err := f.reader.read(name)
		if err != nil {
			return err
		}
		f.bytes += int64(len(text))
		f.index.Add(name, text)
	}
	return nil
}
