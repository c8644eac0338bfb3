// Package summary has what the programs of this module make the cells of their tables with.
package summary

import (
	"fmt"
	"math"
	"slices"
)

// Median returns the median; not a number if there are no figures.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// Cell formats a figure for a cell: empty if it is not a number, because it was not measured.
func Cell(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return ""
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
