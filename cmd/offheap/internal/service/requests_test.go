package service

import (
	"encoding/json"
	"math"
	"testing"
)

// TestSizes draws keys and values: all sizes lie in their bounds, their mean is the payload, and no two keys are equal.
func TestSizes(t *testing.T) {
	const entries = 200_000
	seen := make(map[string]bool, entries)
	payload := 0
	keySizes, valueSizes := map[int]int{}, map[int]int{}
	for i := range entries {
		key, value := appendKey(nil, i), appendValue(nil, firstSeed(i))
		seen[string(key)] = true
		payload += len(key) + len(value)
		keySizes[len(key)]++
		valueSizes[len(value)]++
		if i%1000 == 0 {
			if text, err := json.Marshal(string(value)); err != nil || len(text) != len(value)+2 {
				t.Fatalf("JSON escapes the value %q: %s (%v)", value, text, err)
			}
		}
	}
	if len(seen) != entries {
		t.Errorf("%d keys of %d are different", len(seen), entries)
	}
	if want := Payload(entries); math.Abs(float64(payload)/float64(want)-1) > .005 {
		t.Errorf("the payload is %d, want %d", payload, want)
	}
	within := func(sizes map[int]int, least, most int) {
		for size := range sizes {
			if size < least || size > most {
				t.Errorf("a size is %d", size)
			}
		}
		if sizes[least] == 0 || sizes[most] == 0 {
			t.Errorf("no size is %d, or none %d", least, most)
		}
	}
	within(keySizes, minKey, maxKey)
	within(valueSizes, minValue, maxValue)
}

// TestValueSizesAreThePublishedOnes counts values in three buckets.
func TestValueSizesAreThePublishedOnes(t *testing.T) {
	const draws = 400_000
	counts := map[int]int{}
	total := 0
	for _, b := range buckets {
		total += b.weight
	}
	for i := range draws {
		size := valueSize(mix(uint64(i)))
		for _, b := range buckets {
			if size <= b.most {
				counts[b.most]++
				break
			}
		}
	}
	for _, b := range buckets {
		got, want := float64(counts[b.most])/draws, float64(b.weight)/float64(total)
		if math.Abs(got-want) > .01*want+.001 {
			t.Errorf("%v of the values have up to %d bytes, want %v", got, b.most, want)
		}
	}
}

// TestStreams checks that the streams of several workers touch each entry, that no entry is of two workers, and that
// one request in ten replaces.
func TestStreams(t *testing.T) {
	const workers, entries, requests = 3, 1001, 30_000
	owner := map[int]int{}
	replaced := 0
	for w := range workers {
		s := newStream(phaseClosed, w, workers, entries)
		for range requests {
			entry, replace, _ := s.next()
			if entry < 0 || entry >= entries {
				t.Fatalf("there is no entry %d", entry)
			}
			if other, ok := owner[entry]; ok && other != w {
				t.Fatalf("workers %d and %d share entry %d", w, other, entry)
			}
			owner[entry] = w
			if replace {
				replaced++
			}
		}
	}
	if len(owner) != entries {
		t.Errorf("%d entries were touched, want %d", len(owner), entries)
	}
	if share := float64(replaced) / (workers * requests); math.Abs(share-.1) > .005 {
		t.Errorf("%v of the requests replace", share)
	}
}
