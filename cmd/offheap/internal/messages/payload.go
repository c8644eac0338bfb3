package messages

import (
	"fmt"
	"time"
	"unsafe"
)

// A message is words of 8 bytes: its number, the time at which it was sent or 0, and then the payload, whose words count up
// from the number.
const (
	wordSize    = 8
	headerWords = 2
	LeastBytes  = 64      // of a message
	MostBytes   = 1 << 20 // likewise
	leastWords  = LeastBytes / wordSize
	wordNumber  = 0
	wordSent    = 1
	noTime      = 0
)

// words views a message.
func words(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/wordSize)
}

// first views the words of the shortest messages.
func first(b []byte) *[leastWords]uint64 { return (*[leastWords]uint64)(words(b)) }

// fill writes a message with a number and without a time. The shortest messages are filled and checked without a loop: loops took
// longer than the ring does, and C's compilers make vectors of them.
func fill(b []byte, number uint64) {
	w := first(b)
	w[wordNumber], w[wordSent] = number, noTime
	w[2], w[3], w[4], w[5], w[6], w[7] = number, number+1, number+2, number+3, number+4, number+5
	if len(b) > LeastBytes {
		fillRest(b, number+6)
	}
}

func fillRest(b []byte, number uint64) {
	w := words(b)[leastWords:]
	for len(w) >= 4 {
		w[0], w[1], w[2], w[3] = number, number+1, number+2, number+3
		w, number = w[4:], number+4
	}
	for i := range w {
		w[i] = number + uint64(i)
	}
}

// check reads a whole message, and returns an error if it is not the one with the number.
func check(b []byte, number uint64) error {
	w := first(b)
	sum := w[2] + w[3] + w[4] + w[5] + w[6] + w[7]
	if len(b) > LeastBytes {
		sum += sumRest(b)
	}
	if n := uint64(len(b)/wordSize - headerWords); w[wordNumber] != number || sum != n*number+n*(n-1)/2 {
		return wrongMessage(w[wordNumber], number)
	}
	return nil
}

func sumRest(b []byte) uint64 {
	w := words(b)[leastWords:]
	var s0, s1, s2, s3 uint64
	for len(w) >= 4 {
		s0, s1, s2, s3 = s0+w[0], s1+w[1], s2+w[2], s3+w[3]
		w = w[4:]
	}
	for _, x := range w {
		s0 += x
	}
	return s0 + s1 + s2 + s3
}

// wrongMessage returns the error of a message in the place of another, or of one with other contents.
func wrongMessage(got, want uint64) error {
	if got != want {
		return wrongNumber(got, want)
	}
	return fmt.Errorf("message %d has other contents than were sent", want)
}

// stamp writes the number and the time to a message.
func stamp(b []byte, number int) {
	w := first(b)
	w[wordNumber], w[wordSent] = uint64(number), uint64(time.Now().UnixNano())
}

// appendLatency appends the time since a message with a time was sent.
func appendLatency(to []int64, b []byte, number int) ([]int64, error) {
	w := first(b)
	if w[wordNumber] != uint64(number) {
		return to, wrongNumber(w[wordNumber], uint64(number))
	}
	return append(to, time.Now().UnixNano()-int64(w[wordSent])), nil
}

func wrongNumber(got, want uint64) error {
	return fmt.Errorf("message %d came in the place of %d", got, want)
}
