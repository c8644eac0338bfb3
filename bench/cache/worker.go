package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-9a6c551e/offheap/bench/internal/summary"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Each cache is measured in a process of its own, so that no cache pays for the Go heap of another. The command starts itself
// once for each; these processes read orders from their standard input, a line of JSON each, and answer with one.

// order tells a worker what to do.
type order struct {
	Do         string // "fill", "refill", "time", "pauses", "collect" or "save"
	Limits     limits
	Entries    int // fill: how many, from key 0 on
	Operation  string
	Zipf       bool
	Goroutines int
	Steps      int
	CPU        bool // measure processor time
}

// answer is a worker's answer; what it has depends on the order.
type answer struct {
	Figures []float64
	Check   uint64
	Skip    string // why there is no figure
}

const (
	keyBytes   = 16
	valueBytes = 100
)

// putKey writes key i into b.
func putKey(b *[keyBytes]byte, i uint64) {
	x := (i + 1) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	for j := range 8 {
		b[j] = byte(x >> (8 * j))
		b[8+j] = byte(i >> (8 * j))
	}
}

// work is a worker: the process's whole life.
func work(name string) {
	var w worker
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var o order
		must(json.Unmarshal(line, &o))
		must(out.Encode(w.do(name, &o)))
	}
}

type worker struct {
	peer
	n     int
	asked map[string][2][]uint32 // by distribution
	next  uint64                 // key that was never set
}

func (w *worker) do(name string, o *order) (a answer) {
	switch o.Do {
	case "fill":
		return w.fill(name, o)
	case "refill":
		w.refill()
		return a
	case "time":
		return w.time(o)
	case "pauses":
		return w.pauses(o)
	case "collect":
		return collect()
	case "save":
		return w.save(o)
	}
	panic("no such order: " + o.Do)
}

// fill opens the cache and sets entries. It returns the resident bytes that the process has gained over the bytes of keys and values, and the
// share of entries that are there.
func (w *worker) fill(name string, o *order) (a answer) {
	w.asked = map[string][2][]uint32{}
	w.n, w.next = o.Entries, uint64(o.Entries)
	if name == "nothing" {
		return answer{Figures: []float64{0, 0}}
	}
	debug.FreeOSMemory()
	before := resident()
	w.peer = openPeer(name, o.Limits)
	w.refill()
	debug.FreeOSMemory()
	grown := resident() - before
	found := 0
	var key [keyBytes]byte
	var dst [valueBytes]byte
	for i := range uint64(o.Entries) {
		putKey(&key, i)
		if v, ok := w.get(dst[:0], key[:]); ok && v[0] == byte(i) {
			found++
		}
	}
	return answer{Figures: []float64{
		float64(grown) / float64(max(found, 1)*(keyBytes+valueBytes)), float64(found) / float64(max(o.Entries, 1)),
	}}
}

// refill sets all entries.
func (w *worker) refill() {
	var key [keyBytes]byte
	var value [valueBytes]byte
	for i := range uint64(w.n) {
		putKey(&key, i)
		value[0] = byte(i)
		w.set(key[:], value[:])
		if i%1000 == 0 {
			settle(w.peer)
		}
	}
	settle(w.peer)
}

// resident returns the resident bytes of the process.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	must(err)
	n, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(err)
	return n * os.Getpagesize()
}

// keysFor returns which keys both goroutines ask for.
func (w *worker) keysFor(zipfs bool, steps int) [2][]uint32 {
	name := fmt.Sprint(zipfs, steps)
	if a, ok := w.asked[name]; ok {
		return a
	}
	var a [2][]uint32
	r := rand.New(rand.NewPCG(1, uint64(w.n)))
	var z *zipf
	if zipfs {
		z = newZipf(w.n, 0.99)
	}
	for g := range a {
		for range steps {
			k := uint32(r.IntN(w.n))
			if zipfs {
				// The most popular keys are not neighbours.
				k = uint32(uint64(z.draw(r)) * 2654435761 % uint64(w.n))
			}
			a[g] = append(a[g], k)
		}
	}
	w.asked = map[string][2][]uint32{name: a}
	return a
}

// time returns the nanoseconds of an operation: the time of the clock, or that of the processors, over the operations of all goroutines.
func (w *worker) time(o *order) (a answer) {
	asked := w.keysFor(o.Zipf, o.Steps)
	loop := map[string]func(peer, []uint32) uint64{"get": getLoop, "set": setLoop, "mix": mixLoop}[o.Operation]
	runtime.GC()
	var sums [2]struct {
		sum uint64
		_   [120]byte
	}
	var done sync.WaitGroup
	cpu, began := workload.ProcessorTime(), time.Now()
	for g := range o.Goroutines {
		done.Go(func() { sums[g].sum = loop(w.peer, asked[g]) })
	}
	done.Wait()
	took := time.Since(began)
	if o.CPU {
		took = workload.ProcessorTime() - cpu
	}
	return answer{
		Figures: []float64{float64(took.Nanoseconds()) / float64(o.Steps*o.Goroutines)},
		Check:   sums[0].sum + sums[1].sum,
	}
}

func getLoop(p peer, asked []uint32) (hits uint64) {
	var key [keyBytes]byte
	var dst [valueBytes]byte
	for _, i := range asked {
		putKey(&key, uint64(i))
		if v, ok := p.get(dst[:0], key[:]); ok && v[0] == byte(i) {
			hits++
		}
	}
	return hits
}

func setLoop(p peer, asked []uint32) uint64 {
	var key [keyBytes]byte
	var value [valueBytes]byte
	for _, i := range asked {
		putKey(&key, uint64(i))
		value[0] = byte(i)
		p.set(key[:], value[:])
	}
	return uint64(len(asked))
}

// mixLoop reads nine times, and sets once.
func mixLoop(p peer, asked []uint32) (hits uint64) {
	var key [keyBytes]byte
	var dst, value [valueBytes]byte
	for n, i := range asked {
		putKey(&key, uint64(i))
		if n%10 == 9 {
			value[0] = byte(i)
			p.set(key[:], value[:])
			hits++
			continue
		}
		if v, ok := p.get(dst[:0], key[:]); ok && v[0] == byte(i) {
			hits++
		}
	}
	return hits
}

// pauses sets keys that are new, so that a full cache evicts, and returns the percentiles of the time of a set in nanoseconds: the 50th, the 99th, the
// 99.9th, the 99.99th and the longest.
func (w *worker) pauses(o *order) (a answer) {
	var key [keyBytes]byte
	var value [valueBytes]byte
	times := make([]uint32, o.Steps)
	runtime.GC()
	for i := range times {
		putKey(&key, w.next)
		w.next++
		began := time.Now()
		w.set(key[:], value[:])
		times[i] = uint32(min(time.Since(began).Nanoseconds(), 1<<32-1))
	}
	slices.Sort(times)
	for _, share := range []float64{0.5, 0.99, 0.999, 0.9999, 1} {
		a.Figures = append(a.Figures, float64(times[min(int(share*float64(len(times))), len(times)-1)]))
	}
	return a
}

// collect returns the time of a forced collection in milliseconds.
func collect() (a answer) {
	var took []float64
	for range 5 {
		began := time.Now()
		runtime.GC()
		took = append(took, float64(time.Since(began).Nanoseconds())/1e6)
	}
	return answer{Figures: []float64{summary.Median(took)}}
}

// save writes a snapshot into memory that was touched before, and reads it into a second cache. It returns GiB of keys and values a second of both.
func (w *worker) save(o *order) (a answer) {
	type snapshots interface {
		io.WriterTo
		io.ReaderFrom
		Len() int
		Close() error
	}
	c, ok := any(unwrap(w.peer)).(snapshots)
	if !ok {
		return answer{Skip: "has no snapshots"}
	}
	gib := float64(w.n*(keyBytes+valueBytes)) / (1 << 30)
	var b bytes.Buffer
	_, err := c.WriteTo(&b) // touches the memory
	must(err)
	b.Reset()
	began := time.Now()
	_, err = c.WriteTo(&b)
	must(err)
	wrote := time.Since(began).Seconds()
	other := any(unwrap(openPeer("offheap", o.Limits))).(snapshots)
	began = time.Now()
	_, err = other.ReadFrom(bytes.NewReader(b.Bytes()))
	must(err)
	read := time.Since(began).Seconds()
	if other.Len() != c.Len() {
		panic(fmt.Sprintf("%d entries were written, and %d read", c.Len(), other.Len()))
	}
	must(other.Close())
	return answer{Figures: []float64{gib / wrote, gib / read}}
}

func unwrap(p peer) any {
	if c, ok := p.(ours); ok {
		return c.Cache
	}
	return p
}

// processSeconds returns the processor time of another process.
func processSeconds(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return math.NaN()
	}
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(words[11], 64)
	system, _ := strconv.ParseFloat(words[12], 64)
	return (user + system) / 100
}

// remote is a worker as its parent sees it.
type remote struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

func startWorker(name string) *remote {
	exe, err := os.Executable()
	must(err)
	r := &remote{name: name, cmd: exec.Command(exe, "-worker", name)}
	r.cmd.Stderr = os.Stderr
	r.in, err = r.cmd.StdinPipe()
	must(err)
	out, err := r.cmd.StdoutPipe()
	must(err)
	must(r.cmd.Start())
	r.out = json.NewDecoder(out)
	return r
}

// do sends an order, and waits for the answer.
func (r *remote) do(o order) (a answer) {
	line, err := json.Marshal(o)
	must(err)
	_, err = r.in.Write(append(line, '\n'))
	must(err)
	if err := r.out.Decode(&a); err != nil {
		panic(fmt.Sprintf("%s: %s: %v", r.name, o.Do, err))
	}
	return a
}

func (r *remote) stop() {
	r.in.Close()
	must(r.cmd.Wait())
}
