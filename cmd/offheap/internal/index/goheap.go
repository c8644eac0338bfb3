package index

// goHeap is the index as Go programs keep it: a map from words to their postings, and a slice of
// documents.
//
// It is written to be good at its job: the postings of a word are one byte slice, not a slice of structs
// with slices in them. So the collector has three objects for each word (its text, its record, its
// bytes) for any number of occurrences, and nothing to scan in the bytes. Memory grows by append and by
// the map.
type goHeap struct {
	words     map[string]*goWord
	documents []goDocument
	total     uint64 // words in all documents
}

type goWord struct {
	tail  tail
	bytes []byte
}

type goDocument struct {
	name  string
	words uint32
}

func newGoHeap() *goHeap { return &goHeap{words: make(map[string]*goWord)} }

func (x *goHeap) Add(name, text []byte) {
	number, count := uint32(len(x.documents)), uint32(0)
	var room occurrence
	for position, word := range words(text) {
		w := x.words[string(word)]
		if w == nil {
			w = new(goWord)
			x.words[string(word)] = w
		}
		w.bytes = append(w.bytes, w.tail.write(&room, number, position)...)
		count++
	}
	x.documents = append(x.documents, goDocument{string(name), count})
	x.total += uint64(count)
}

func (x *goHeap) Postings(word []byte) Postings {
	w := x.words[string(word)]
	if w == nil {
		return Postings{}
	}
	return Postings{w.tail.documents, w.bytes}
}

func (x *goHeap) Document(number uint32) (name string, words uint32) {
	d := &x.documents[number]
	return d.name, d.words
}

func (x *goHeap) Size() (documents int, words uint64) { return len(x.documents), x.total }

func (x *goHeap) Close() error { return nil }
