// Package machine tells how busy the machine is.
package machine

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// BusySeconds returns the time that all processors together have worked since the machine started, and
// their number; not a number where the system does not tell.
func BusySeconds() (seconds float64, processors int) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return math.NaN(), 1
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 6 || !strings.HasPrefix(words[0], "cpu") || words[0] == "cpu" {
			continue
		}
		processors++
		for i, word := range words[1:] {
			if x, err := strconv.ParseFloat(word, 64); err == nil && i != 3 && i != 4 { // idle, and idle for a disk
				seconds += x / 100
			}
		}
	}
	return seconds, processors
}
