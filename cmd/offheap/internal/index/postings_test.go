package index

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

type where struct {
	document  uint32
	positions []int32
}

func encode(all []where) Postings {
	var p Postings
	var tail tail
	var room occurrence
	for _, w := range all {
		for _, position := range w.positions {
			p.Bytes = append(p.Bytes, tail.write(&room, w.document, uint32(position))...)
		}
	}
	p.Documents = tail.documents
	return p
}

func decode(p Postings) (all []where) {
	for c := (cursor{rest: p.Bytes}); c.next(); {
		w := where{c.document, c.appendPositions(nil)}
		if int(c.count) != len(w.positions) {
			panic("the count is not that of the positions")
		}
		all = append(all, w)
	}
	return all
}

func TestPostingsRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cases := [][]where{
		nil,
		{{0, []int32{0}}},
		{{math.MaxUint32, []int32{0, math.MaxInt32}}},
		{{0, []int32{math.MaxInt32}}, {1, []int32{0, 1, 2}}, {math.MaxUint32, []int32{5}}},
	}
	for range 200 {
		var all []where
		for document := random.Uint32N(3); len(all) < 50; document += 1 + random.Uint32N(1<<random.UintN(20)) {
			w := where{document: document}
			position := random.Int32N(1 << random.UintN(20))
			for range 1 + random.IntN(8) {
				w.positions = append(w.positions, position)
				position += 1 + random.Int32N(1<<random.UintN(20))
			}
			all = append(all, w)
		}
		cases = append(cases, all)
	}
	for _, all := range cases {
		p := encode(all)
		if int(p.Documents) != len(all) {
			t.Errorf("%d documents, want %d", p.Documents, len(all))
		}
		if got := decode(p); !reflect.DeepEqual(got, all) {
			t.Errorf("wrote %v, read %v", all, got)
		}
	}
}

func TestSeek(t *testing.T) {
	p := encode([]where{{2, []int32{1, 9}}, {5, []int32{3}}, {9, []int32{0}}})
	for _, c := range []struct {
		to, at uint32
		found  bool
	}{{0, 2, true}, {2, 2, true}, {3, 5, true}, {9, 9, true}, {10, 0, false}} {
		cursor := cursor{rest: p.Bytes}
		cursor.next()
		found := cursor.seek(c.to)
		if found != c.found || found && cursor.document != c.at {
			t.Errorf("seek %d: document %d, %v; want %d, %v", c.to, cursor.document, found, c.at, c.found)
		}
	}
}
