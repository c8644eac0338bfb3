package index

import (
	"bytes"
	"cmp"
	"math"
	"slices"
)

// maxHits is the number of documents in an answer at most.
const maxHits = 10

// Hit is a document in an answer.
type Hit struct {
	Name  string  `json:"name"` // valid until the index is closed
	Score float64 `json:"score"`
}

// Answer is the answer to a query.
type Answer struct {
	Matches int   `json:"matches"` // number of documents that hold all the words
	Hits    []Hit `json:"hits"`    // the best of them, best first
}

// searcher answers queries from an index. It is for one goroutine.
type searcher struct {
	index Index

	// Scratch memory, used again by each query.
	starts, positions []int32
}

// newSearcher returns a searcher over index.
func newSearcher(index Index) *searcher { return &searcher{index: index} }

// term is a word of a query.
type term struct {
	cursor
	documents uint32 // number of documents that hold the word
	place     int32  // its position in the query
	weight    float64
}

// search answers a query: words with spaces between. The answer is fresh memory of the Go heap, as that
// of a request would be; the caller may keep it until the index is closed.
func (s *searcher) search(query []byte) Answer {
	documents, total := s.index.Size()
	terms := make([]term, 0, 3)
	for i, word := range bytes.Fields(query) {
		p := s.index.Postings(word)
		if p.Documents == 0 {
			return Answer{}
		}
		n, df := float64(documents), float64(p.Documents)
		terms = append(terms, term{cursor{rest: p.Bytes}, p.Documents, int32(i), math.Log(1 + (n-df+0.5)/(df+0.5))})
	}
	if len(terms) == 0 {
		return Answer{}
	}
	// The rarest word comes first: the others look only at its documents.
	slices.SortStableFunc(terms, func(a, b term) int { return cmp.Compare(a.documents, b.documents) })

	var top ranking
	average := float64(total) / float64(documents)
	for i := range terms {
		terms[i].next()
	}
	matches := 0
	for meet(terms) {
		matches++
		document := terms[0].document
		name, words := s.index.Document(document)
		top.add(Hit{name, s.score(terms, float64(words)/average)})
		if !terms[0].next() {
			break
		}
	}
	return Answer{matches, slices.Clone(top.hits[:top.n])}
}

// meet moves the cursors forward to the next document that all of them have; false if there is none.
func meet(terms []term) bool {
	lead := terms[0].document
	for i := 0; i < len(terms); i++ {
		if !terms[i].seek(lead) {
			return false
		}
		if terms[i].document > lead {
			lead = terms[i].document
			i = -1 // check all of them against the new one
		}
	}
	return true
}

// score returns BM25 with the customary constants, times a bonus for words that stand side by side as
// in the query. length is the document's over the average of all.
func (s *searcher) score(terms []term, length float64) float64 {
	const k, b = 1.2, 0.75
	sum := 0.0
	for i := range terms {
		count := float64(terms[i].count)
		sum += terms[i].weight * count * (k + 1) / (count + k*(1-b+b*length))
	}
	if len(terms) > 1 {
		sum *= 1 + math.Log1p(float64(s.phrases(terms)))
	}
	return sum
}

// phrases counts the places where the words stand side by side in the order of the query.
func (s *searcher) phrases(terms []term) int {
	// A start is a position minus the word's place in the query. If all words have the same start,
	// there is a phrase.
	s.starts = terms[0].appendPositions(s.starts[:0])
	for i := range s.starts {
		s.starts[i] -= terms[0].place
	}
	for i := 1; i < len(terms) && len(s.starts) > 0; i++ {
		s.positions = terms[i].appendPositions(s.positions[:0])
		kept, j := 0, 0
		for _, start := range s.starts {
			position := start + terms[i].place
			for j < len(s.positions) && s.positions[j] < position {
				j++
			}
			if j < len(s.positions) && s.positions[j] == position {
				s.starts[kept] = start
				kept++
			}
		}
		s.starts = s.starts[:kept]
	}
	return len(s.starts)
}

// ranking keeps the best hits, best first. Of equal hits it keeps the earlier.
type ranking struct {
	hits [maxHits]Hit
	n    int
}

func (r *ranking) add(h Hit) {
	if r.n < maxHits {
		r.n++
	} else if h.Score <= r.hits[maxHits-1].Score {
		return
	}
	i := r.n - 1
	for ; i > 0 && r.hits[i-1].Score < h.Score; i-- {
		r.hits[i] = r.hits[i-1]
	}
	r.hits[i] = h
}
