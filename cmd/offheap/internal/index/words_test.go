package index

import (
	"fmt"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	long := strings.Repeat("x", maxWord+1)
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" \n\t..,,", ""},
		{"one", "0:one"},
		{"One TWO", "0:one 1:two"},
		{"func (x *T) a_b2() {}", "0:func 1:x 2:t 3:a_b2"},
		{"naïve Ünicode", "0:naïve 1:Ünicode"}, // only ASCII has its case folded
		{"0xFF", "0:0xff"},
		{"a " + long + " b", "0:a 2:b"},
		{long[:maxWord], "0:" + long[:maxWord]},
		{"\xff\xfe.x", "0:\xff\xfe 1:x"},
	} {
		var got []string
		for position, word := range words([]byte(c.text)) {
			got = append(got, fmt.Sprintf("%d:%s", position, word))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("words of %q: %q, want %q", c.text, s, c.want)
		}
	}
}

func TestWordsStops(t *testing.T) {
	for range words([]byte("a b c")) {
		break // must not be called again
	}
}

func TestWordAt(t *testing.T) {
	text := "  Alpha,b  " + strings.Repeat("y", maxWord+1)
	want := map[int]string{0: "", 2: "alpha", 4: "alpha", 6: "alpha", 7: "", 8: "b", 9: "", 11: "", len(text) - 1: ""}
	for at, word := range want {
		if got := string(wordAt([]byte(text), at)); got != word {
			t.Errorf("word at %d: %q, want %q", at, got, word)
		}
	}
}
