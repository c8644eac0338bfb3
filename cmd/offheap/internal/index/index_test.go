package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// FuzzSides indexes the fuzzer's text, a document for each line. It asks both sides, and a plain search
// through the text, for every word and some neighbours.
func FuzzSides(f *testing.F) {
	f.Add([]byte("the quick brown fox\nthe lazy dog\n\nthe the the"))
	f.Add([]byte("a b c a b c\na\nb\nc\nA B C"))
	f.Add([]byte(strings.Repeat("x y ", 3000) + "\nx"))
	f.Add([]byte("\xff\x00\xfe é É _ 0x1F\n" + strings.Repeat("long", 40)))
	random := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	for range 3000 {
		fmt.Fprintf(&b, "w%d%c", int(random.ExpFloat64()*20), " \n   "[random.IntN(5)])
	}
	f.Add(b.Bytes())

	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		goHeap, offHeap := newGoHeap(), must(newOffHeap())
		defer offHeap.Close()
		a, b := newSearcher(goHeap), newSearcher(offHeap)
		var model [][]string
		for i, line := range bytes.Split(text, []byte("\n")) {
			name := fmt.Appendf(nil, "document %d", i)
			goHeap.Add(name, bytes.Clone(line))
			offHeap.Add(name, line)
			var said []string
			for position, word := range words(line) {
				for len(said) < int(position) {
					said = append(said, "") // too long for a word
				}
				said = append(said, string(word))
			}
			model = append(model, said)
			if i%8 != 0 {
				continue // answers must agree while the index grows; every eighth time is enough
			}
			for j := 0; j < len(said); j += 1 + len(said)/16 {
				query := strings.Join(said[j:min(j+1+i%3, len(said))], " ")
				got, want := b.search([]byte(query)), a.search([]byte(query))
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%q: offheap %+v, Go heap %+v", query, got, want)
				}
				if n := matches(model, strings.Fields(query)); n != got.Matches {
					t.Fatalf("%q: %d matches, want %d", query, got.Matches, n)
				}
			}
		}
		sameAsModel(t, goHeap, model)
		sameAsModel(t, offHeap, model)
	})
}

// matches counts the documents that hold all the words.
func matches(model [][]string, query []string) (n int) {
	if len(query) == 0 {
		return 0
	}
	for _, said := range model {
		all := true
		for _, word := range query {
			all = all && strings.Contains(" "+strings.Join(said, " ")+" ", " "+word+" ")
		}
		if all {
			n++
		}
	}
	return n
}

// sameAsModel checks every posting and every document.
func sameAsModel(t *testing.T, index Index, model [][]string) {
	t.Helper()
	postings := make(map[string][]where)
	for d, said := range model {
		count := uint32(0)
		for position, word := range said {
			if word == "" {
				continue
			}
			count++
			p := postings[word]
			if len(p) == 0 || p[len(p)-1].document != uint32(d) {
				p = append(p, where{document: uint32(d)})
			}
			last := &p[len(p)-1]
			last.positions = append(last.positions, int32(position))
			postings[word] = p
		}
		if name, words := index.Document(uint32(d)); name != fmt.Sprintf("document %d", d) || words != count {
			t.Fatalf("document %d is %q with %d words, want %d", d, name, words, count)
		}
	}
	for word, want := range postings {
		p := index.Postings([]byte(word))
		if got := decode(p); int(p.Documents) != len(want) || !reflect.DeepEqual(got, want) {
			t.Fatalf("postings of %q: %v, want %v", word, got, want)
		}
	}
	if p := index.Postings([]byte("no such word")); p.Documents != 0 || p.Bytes != nil {
		t.Fatalf("postings of an unknown word: %+v", p)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestOpenUnknownSide(t *testing.T) {
	if _, err := Open("elsewhere"); err == nil || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Errorf("error %v", err)
	}
}
