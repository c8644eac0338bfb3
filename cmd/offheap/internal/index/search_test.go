package index

import (
	"math"
	"testing"
)

// both runs a test on both sides.
func both(t *testing.T, test func(t *testing.T, index Index)) {
	for _, side := range []Side{GoHeap, OffHeap} {
		t.Run(string(side), func(t *testing.T) {
			index, err := Open(side)
			if err != nil {
				t.Fatal(err)
			}
			test(t, index)
			if err := index.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func add(index Index, name, text string) { index.Add([]byte(name), []byte(text)) }

func TestSearchByHand(t *testing.T) {
	both(t, func(t *testing.T, index Index) {
		add(index, "a.txt", "The quick brown fox.")
		add(index, "b.txt", "The quick, quick fox jumps over the brown dog")
		add(index, "c.txt", "brown dog")
		if documents, words := index.Size(); documents != 3 || words != 15 {
			t.Errorf("size %d documents, %d words; want 3, 15", documents, words)
		}
		// The scores were computed apart from this program, from the formula in the comment of
		// score.
		for query, want := range map[string][]Hit{
			"quick":           {{"b.txt", 0.5275550940513359}, {"a.txt", 0.5118851407626824}},
			"brown dog":       {{"c.txt", 1.3542903406189082}, {"b.txt", 0.7699047826806124}},
			"dog brown":       {{"c.txt", 0.7998656916352819}, {"b.txt", 0.45471816716252333}},
			"quick fox":       {{"b.txt", 1.4927927020566147}, {"a.txt", 1.0237702815253649}},
			"the quick brown": {{"a.txt", 1.9796285489060288}, {"b.txt", 1.155716031860874}},
			"fox dog":         {{"b.txt", 0.7082246468086428}},
			"fox cat":         {},
			"cat":             {},
			"fox jumps c":     {},
			"":                {},
		} {
			got := newSearcher(index).search([]byte(query))
			if got.Matches != len(want) || len(got.Hits) != len(want) {
				t.Errorf("%q: %+v, want %+v", query, got, want)
				continue
			}
			for i, hit := range got.Hits {
				if hit.Name != want[i].Name || math.Abs(hit.Score-want[i].Score) > 1e-12 {
					t.Errorf("%q: hit %d is %+v, want %+v", query, i, hit, want[i])
				}
			}
		}
	})
}

func TestSearchKeepsTheBest(t *testing.T) {
	both(t, func(t *testing.T, index Index) {
		// Equal scores keep the order of the documents. The best document comes first although it
		// was added last.
		for i := range 25 {
			add(index, string(rune('a'+i)), "word filler")
		}
		add(index, "best", "word word")
		got := newSearcher(index).search([]byte("word"))
		names := ""
		for _, hit := range got.Hits {
			names += hit.Name + " "
		}
		if got.Matches != 26 || names != "best a b c d e f g h i " {
			t.Errorf("%d matches, best %q", got.Matches, names)
		}
	})
}

func TestPhrases(t *testing.T) {
	both(t, func(t *testing.T, index Index) {
		add(index, "x", "b c a b c b a b b c")
		for query, want := range map[string]int{"a b c": 1, "a b": 2, "b c": 3, "c b a": 1, "c a c": 0, "b b": 1, "b b c": 1, "a c": 0} {
			s := newSearcher(index)
			if got := s.phrases(termsOf(index, query)); got != want {
				t.Errorf("%q occurs %d times, want %d", query, got, want)
			}
		}
	})
}

// termsOf returns the terms of a query on their first document.
func termsOf(index Index, query string) (terms []term) {
	for position, word := range words([]byte(query)) {
		c := cursor{rest: index.Postings(word).Bytes}
		c.next()
		terms = append(terms, term{cursor: c, place: int32(position)})
	}
	return terms
}
