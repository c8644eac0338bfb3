package main

import (
	"fmt"
	"math"
	"strings"
)

// against says what a row compares with.
type against int

const (
	bestC     against = iota // the best of the C allocators
	tcmalloc                 // tcmalloc alone
	hardenedC                // hardened_malloc
	anotherGo                // a Go package: a benchmark of module bench
	nothing                  // nothing: the figure stands for itself
)

// row is a row of a table.
type row struct {
	name    string
	command string // of offheap, or with a leading "Benchmark" a benchmark of module bench
	of      figure // which of the printed figures the row shows
	against against
	c       string // the driver for C allocators; or the benchmark of a Go package
	target  string
	peer    bool // the row belongs to the table of Go packages, whose ratios are the other way round
}

// job returns the name of the run of the row's command for a side, "before" or "after".
func (r *row) job(side string) string { return side + " " + r.command }

// figure takes a figure from the key=value pairs that a run printed; not a number if it is not there.
type figure func(kv map[string]float64) float64

func key(name string) figure {
	return func(kv map[string]float64) float64 {
		if x, ok := kv[name]; ok {
			return x
		}
		return math.NaN()
	}
}

// plus and minus combine two figures.
func plus(a, b string) figure {
	return func(kv map[string]float64) float64 { return key(a)(kv) + key(b)(kv) }
}
func minus(a, b string) figure {
	return func(kv map[string]float64) float64 { return key(a)(kv) - key(b)(kv) }
}

// allRows returns all rows. The targets are ratios, the last one a figure.
func allRows(quick bool) (rows []row) {
	c1, c2, c := "c1_churn %d 0", "c2_xthread %s 0 10000000", "c/churn %s" // of anchors, and of bench/c
	steps, objects := "", ""
	if quick {
		c1, c2, c = c1+" 100000 5000000", "c2_xthread %s 0 1000000", c+" 5000000"
		steps, objects = " -ops 5000000", " -ops 1000000"
	}
	add := func(name, command string, of figure, with against, driver, target string) {
		rows = append(rows, row{name: name, command: command, of: of, against: with, c: driver, target: target})
	}
	one, two := fmt.Sprintf(c1, 1), fmt.Sprintf(c1, 2)
	add("Local: C1", "bench -kv -local"+steps+" C1t1", key("ns_op"), bestC, one, "1.25")
	add("Local: LIFO pair", "bench -kv -local C3", key("lifo_pair"), bestC, "c3_fixed", "1.3")
	add("Local: free in order", "bench -kv -local C3", key("free_inorder"), bestC, "c3_fixed", "1.4")
	add("Local: free shuffled", "bench -kv -local C3", key("free_shuffled"), bestC, "c3_fixed", "1.0")
	add("Local: hot", "bench -kv -local -live 1000"+steps+" churn", key("ns_op"), bestC, fmt.Sprintf(c, "1000"), "")
	add("Heap: C1", "bench -kv"+steps+" C1t1", key("ns_op"), bestC, one, "1.45")
	add("Heap: two goroutines", "bench -kv"+steps+" C1t2", key("ns_op"), bestC, two, "1.7")
	add("Heap: LIFO pair", "bench -kv C3", key("lifo_pair"), bestC, "c3_fixed", "1.8")
	add("Heap: free in order", "bench -kv C3", key("free_inorder"), bestC, "c3_fixed", "")
	add("Heap: free shuffled", "bench -kv C3", key("free_shuffled"), bestC, "c3_fixed", "")
	add("Heap: hot", "bench -kv -live 1000"+steps+" churn", key("ns_op"), bestC, fmt.Sprintf(c, "1000"), "")
	add("Heap: hand-over one way", "bench -kv"+objects+" C2uni", key("ns_pair"), bestC, fmt.Sprintf(c2, "uni"), "0.5")
	add("Heap: hand-over both ways", "bench -kv"+objects+" C2bi", key("ns_pair"), bestC, fmt.Sprintf(c2, "bi"), "1.4")
	add("Heap: hand-over by turns", "bench -kv"+objects+" C2ph", plus("ns_alloc", "ns_rfree"), bestC, fmt.Sprintf(c2, "phase"), "1.1")
	add("zeroed, hot: Local", "bench -kv -local -zero -live 1000"+steps+" churn", key("ns_op"), bestC, fmt.Sprintf(c, "-zero 1000"), "1.15")
	add("zeroed, hot: Heap", "bench -kv -zero -live 1000"+steps+" churn", key("ns_op"), bestC, fmt.Sprintf(c, "-zero 1000"), "1.35")
	add("Pool: Get and Put", "BenchmarkPair64/peer=slab.Pool", key("ns"), anotherGo, "BenchmarkPair64/peer=sync.Pool", "0.85")
	add("New and Free", "BenchmarkPair64/peer=slab.New", key("ns"), anotherGo, "BenchmarkPair64/peer=sync.Pool", "")
	add("trace of systemui", "replay -kv TRACE", minus("ms", "harness_ms"), tcmalloc, "c/replay", "1.4")
	add("trace: its harness", "replay -kv TRACE", key("harness_ms"), tcmalloc, "c/replay", "")
	add("hardened: C1", "bench -kv -hardened -ops 5000000 C1t1", key("ns_op"), hardenedC, "c1_churn 1 0 100000 5000000", "0.6")
	add("Local: peak over live, C1", "bench -kv -local"+steps+" C1t1", key("peak_ratio"), nothing, "", "1.17")
	add("Heap: peak over live, C1", "bench -kv"+steps+" C1t1", key("peak_ratio"), nothing, "", "1.17")
	for _, work := range []string{"Pair64", "Pair1K", "Churn", "ChurnTwo", "HandOver"} {
		for _, p := range []struct{ peer, slab string }{
			{"modernc", "slab.Local"}, {"modernc", "slab.Heap"}, {"modernc.mutex", "slab.Heap"}, {"mcache", "slab.Heap"},
			{"sync.Pool", "slab.Pool"}, {"z.Calloc", "slab.Heap.zeroed"}, {"make", "slab.Heap.zeroed"},
		} {
			pair := strings.HasPrefix(work, "Pair")
			if p.peer == "sync.Pool" && !pair || p.peer == "modernc" && work == "HandOver" {
				continue // it cannot
			}
			with := "Benchmark" + work + "/peer="
			rows = append(rows, row{name: "peers: " + work + ": " + p.slab, command: with + p.slab, of: key("ns"),
				against: anotherGo, c: with + p.peer, target: "1.2", peer: true})
		}
	}
	return rows
}
