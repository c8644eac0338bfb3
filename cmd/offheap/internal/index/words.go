package index

import "iter"

// maxWord is the length, in bytes, of the longest word that is indexed. Longer runs are encoded data
// rather than words: they are skipped, but take a position.
const maxWord = 64

// letters maps a byte of a word to its lower case, and a byte between words to 0. All of UTF-8 beyond
// ASCII counts as letters.
var letters = func() (t [256]byte) {
	for i := range t {
		switch b := byte(i); {
		case 'A' <= b && b <= 'Z':
			t[i] = b + 'a' - 'A'
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '_', b >= 0x80:
			t[i] = b
		}
	}
	return t
}()

// words yields the words of text with their positions, in order. It turns them into lower case in place:
// a word is a part of text.
func words(text []byte) iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		position := uint32(0)
		for i := 0; i < len(text); i++ {
			start := i
			for i < len(text) && letters[text[i]] != 0 {
				text[i] = letters[text[i]]
				i++
			}
			if i == start {
				continue
			}
			if i-start <= maxWord && !yield(position, text[start:i]) {
				return
			}
			position++
		}
	}
}

// wordAt returns the word of text that contains an offset, and turns it into lower case in place; nil
// if there is none, or it is too long.
func wordAt(text []byte, at int) []byte {
	if letters[text[at]] == 0 {
		return nil
	}
	start, end := at, at
	for start > 0 && at-start <= maxWord && letters[text[start-1]] != 0 {
		start--
	}
	for end < len(text) && end-at <= maxWord && letters[text[end]] != 0 {
		end++
	}
	for _, word := range words(text[start:end]) {
		return word
	}
	return nil
}

// hash returns the FNV-1a hash of b, which is the same in every process.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
