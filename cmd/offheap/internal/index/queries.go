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
	// seed fixes the queries.
	seed = 20260101

	// Words in more than a twentieth of the documents, and in more than a handful, are
	// not asked for, unless there are no others: nobody finds anything by them, and search
	// engines leave them out as stop words.
	stopShare = 20
	stopLeast = 8

	// tries is how often a word is drawn before the query makes do without.
	tries = 64

	// near is how many bytes behind a query's first word a neighbour may start.
	near = 64
)

// draw fills in the queries. Each takes its one, two or three words from one document, so that
// there is something to find, half of the further words from close behind the first.
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
		// Every document gets its share, and makes up for those before that have nothing to ask
		// for.
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

// sketch estimates in how many documents words occur, never too low: words
// share a counter where their hashes meet.
type sketch struct {
	counters []counter
}

type counter struct{ last, documents uint32 }

func newSketch() *sketch { return &sketch{make([]counter, 1<<21)} }

func (s *sketch) at(word []byte) *counter {
	return &s.counters[hash(word)%uint64(len(s.counters))]
}

// see counts the word once for each document; documents are numbered from 1 and come in order.
func (s *sketch) see(word []byte, document uint32) {
	if c := s.at(word); c.last != document {
		c.last = document
		c.documents++
	}
}

func (s *sketch) of(word []byte) uint32 { return s.at(word).documents }
