package index

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

const (
	// seed makes the queries the same in every run.
	seed = 20260101

	// Words in more than a twentieth of the documents, and in more than eight, are stop words:
	// queries do not have them, unless there are no others.
	stopShare = 20
	stopLeast = 8

	// tries is how often a word is drawn before the query goes without it.
	tries = 64

	// near is the greatest distance, in bytes, of a neighbour from a query's first word.
	near = 64
)

// draw fills in the queries. Each takes its one, two or three words from one document, so it has an
// answer. Half of the further words come from closely after the first.
func (c *Corpus) draw(queries int, frequencies *sketch, progress measure.Progress) error {
	random := rand.New(rand.NewPCG(seed, seed))
	r := reader{dir: c.Dir}
	documents := c.Documents.Len()
	stop := max(uint32(documents/stopShare), stopLeast)

	var drawn List
	for visit := 0; drawn.Len() < queries; visit++ {
		if visit == documents && drawn.Len() == 0 {
			stop = math.MaxUint32
		}
		if visit == 2*documents && drawn.Len() == 0 {
			return fmt.Errorf("%s: %w in its files", c.Dir, ErrNothing)
		}
		progress("drawing queries", drawn.Len(), queries)
		text, err := r.read(c.Documents.At(visit % documents))
		if err != nil {
			return err
		}
		// pick adds a word that starts in [from, to); words of a query differ.
		pick := func(query [][]byte, from, to int) ([][]byte, int) {
			for range tries {
				at := from + random.IntN(to-from)
				word := wordAt(text, at)
				if word != nil && frequencies.of(word) <= stop && !slices.ContainsFunc(query, func(w []byte) bool { return bytes.Equal(w, word) }) {
					return append(query, word), at
				}
			}
			return query, from
		}
		// Every document gives its share of the queries, and the shares of documents before it
		// that have no words to ask for.
		share := int(min(int64(visit+1)*int64(queries)/int64(documents), int64(queries)))
		for drawn.Len() < share {
			query, at := pick(nil, 0, len(text))
			if len(query) == 0 {
				break
			}
			for range random.IntN(3) {
				if random.IntN(2) == 0 {
					query, _ = pick(query, at, min(at+near, len(text)))
				} else {
					query, _ = pick(query, 0, len(text))
				}
			}
			drawn.add(bytes.Join(query, []byte(" ")))
		}
	}
	for _, i := range random.Perm(queries) {
		c.Queries.add(drawn.At(i))
	}
	return nil
}

// sketch estimates in how many documents a word occurs. Words of equal hash share a counter, so an
// estimate may be too high and is never too low.
type sketch struct {
	counters []counter
}

type counter struct{ last, documents uint32 }

func newSketch() *sketch { return &sketch{make([]counter, 1<<21)} }

func (s *sketch) at(word []byte) *counter {
	return &s.counters[hash(word)%uint64(len(s.counters))]
}

// see counts a word once for each document. Documents are numbered from 1 and come in order.
func (s *sketch) see(word []byte, document uint32) {
	if c := s.at(word); c.last != document {
		c.last = document
		c.documents++
	}
}

// of returns the estimate for a word.
func (s *sketch) of(word []byte) uint32 { return s.at(word).documents }
