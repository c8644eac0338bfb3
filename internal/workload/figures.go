package workload

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"time"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// Figures are what was measured of one side. Bytes are -1 where the system does not tell.
type Figures struct {
	BuildSeconds float64 `json:"build_seconds"`

	// LiveObjects and GoHeapBytes are what the collector kept of the Go heap, the whole index
	// built (runtime/metrics: /gc/heap/objects:objects, /memory/classes/heap/objects:bytes).
	LiveObjects int64 `json:"live_objects"`
	GoHeapBytes int64 `json:"go_heap_bytes"`

	// GCCycles and GCCPUSeconds are of building and serving, forced collections left out
	// (/gc/cycles/total:gc-cycles, /cpu/classes/gc/total:cpu-seconds, which counts processors that
	// had nothing better to do, too).
	GCCycles     int64   `json:"gc_cycles"`
	GCCPUSeconds float64 `json:"gc_cpu_seconds"`

	// ForcedGCSeconds is the median of three runtime.GC with the whole index built.
	ForcedGCSeconds float64 `json:"forced_gc_seconds"`

	// The time for which the collector stopped the world while building and serving: in
	// all (MemStats.PauseTotalNs), and in the worst of the cycles, its two stops taken
	// together (MemStats.PauseNs, which knows the last 256 cycles).
	STWTotalSeconds float64 `json:"stw_total_seconds"`
	STWWorstSeconds float64 `json:"stw_worst_seconds"`

	// Query latencies: exact, of all queries.
	QueryP50  int64 `json:"query_p50_ns"`
	QueryP99  int64 `json:"query_p99_ns"`
	QueryP999 int64 `json:"query_p999_ns"`
	QueryMax  int64 `json:"query_max_ns"`

	// Off-heap memory, the whole index built (guard.Usage).
	ReservedBytes  int64 `json:"reserved_bytes"`
	CommittedBytes int64 `json:"committed_bytes"`
	ResidentBytes  int64 `json:"resident_bytes"`
	LiveBytes      int64 `json:"live_bytes"`

	// PeakRSSBytes is the most that the process had in RAM (VmHWM of /proc/self/status).
	PeakRSSBytes int64 `json:"peak_rss_bytes"`
}

// collector is what the runtime has counted so far.
type collector struct {
	cycles     int64
	cpuSeconds float64
	stats      runtime.MemStats
}

func readCollector() (c collector) {
	c.cycles = int64(metric("/gc/cycles/total:gc-cycles").Uint64())
	c.cpuSeconds = metric("/cpu/classes/gc/total:cpu-seconds").Float64()
	runtime.ReadMemStats(&c.stats)
	return c
}

func metric(name string) metrics.Value {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value
}

// collected fills in what the collector did between two moments.
func (f *Figures) collected(from, to collector) {
	f.GCCycles = to.cycles - from.cycles
	f.GCCPUSeconds = to.cpuSeconds - from.cpuSeconds
	f.STWTotalSeconds = time.Duration(to.stats.PauseTotalNs - from.stats.PauseTotalNs).Seconds()
	ring := &to.stats.PauseNs
	for n := to.stats.NumGC; n > from.stats.NumGC && to.stats.NumGC-n < uint32(len(ring)); n-- {
		f.STWWorstSeconds = max(f.STWWorstSeconds, time.Duration(ring[(n+255)%256]).Seconds())
	}
}

// served fills in the latencies, which it sorts.
func (f *Figures) served(latencies []time.Duration) {
	slices.Sort(latencies)
	at := func(thousandths int) int64 {
		return int64(latencies[min(len(latencies)*thousandths/1000, len(latencies)-1)])
	}
	f.QueryP50, f.QueryP99, f.QueryP999, f.QueryMax = at(500), at(990), at(999), at(1000)
}

// remembered fills in the memory figures. It forces collections.
func (f *Figures) remembered() {
	f.PeakRSSBytes = peakRSS()
	var times [3]time.Duration
	for i := range times {
		start := time.Now()
		runtime.GC()
		times[i] = time.Since(start)
	}
	slices.Sort(times[:])
	f.ForcedGCSeconds = times[1].Seconds()
	f.LiveObjects = int64(metric("/gc/heap/objects:objects").Uint64())
	f.GoHeapBytes = int64(metric("/memory/classes/heap/objects:bytes").Uint64())

	u := guard.Usage()
	f.ReservedBytes, f.CommittedBytes, f.ResidentBytes, f.LiveBytes = u.Reserved, u.Committed, u.Resident, u.Live
}

// roomFor is an error where the machine, or the cgroup, has less memory than a benchmark takes.
func roomFor(bytes uint64) error {
	v := vm.Probe()
	if ram := min(v.CgroupLimit, v.PhysicalSize); ram < bytes {
		return fmt.Errorf("the benchmark takes %d bytes of memory, and there are %d: %w", bytes, ram, guard.ErrNoMemory)
	}
	return nil
}

// restartPeak gives back what the Go heap does not use, lets the high-water mark start anew, where
// the system can, and returns what is resident.
func restartPeak() int64 {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return status("VmRSS:")
}

// peakRSS is the process's own high-water mark: getrusage's is inherited from
// the process that started this one.
func peakRSS() int64 { return status("VmHWM:") }

// status is a figure of /proc/self/status in bytes; -1 where the system does not tell.
func status(key string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return -1
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := bytes.Fields(lines.Bytes()); len(fields) == 3 && string(fields[0]) == key {
			if kib, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return -1
}
