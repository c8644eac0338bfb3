package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// heldBack is the share of the documents, the last ones, that is added while
// queries are served: one in so many.
const heldBack = 10

// Report is what one side gave.
type Report struct {
	Figures Figures
	Bytes   int64    // that were indexed
	Answers []uint64 // the checksum of each answer, in the order of the queries
}

// Measure builds the index of one side, serves the corpus's queries from it and reports.
//
// Serving is what a service does with a request: find the answer and render it as JSON, each
// in fresh memory on the Go heap. So there is garbage to collect while the index
// is there, and how dear that is depends on where the index lives.
//
// The figures are the process's, so it should have nothing else to do.
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

	searcher := NewSearcher(index)
	for i := range queries {
		progress("serving", i, queries)
		if err := feed.upTo(due(documents, queries, i), nil); err != nil {
			return nil, err
		}
		query := c.Queries.At(i)
		start := time.Now()
		answer, err := json.Marshal(searcher.Search(query))
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

// due is how many of the documents are in the index when query i is answered. Query -1 is before
// serving; with the last query all are in.
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

// upTo adds documents until there are n. Progress may be nil.
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
