package index

import (
	"runtime"
	"slices"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Figures are the figures of one side. Bytes are -1 where the system does not tell.
type Figures struct {
	BuildSeconds float64 `json:"build_seconds"`

	// LiveObjects and GoHeapBytes are the objects and bytes live on the Go heap with the whole index
	// built (runtime/metrics: /gc/heap/objects:objects, /memory/classes/heap/objects:bytes).
	LiveObjects int64 `json:"live_objects"`
	GoHeapBytes int64 `json:"go_heap_bytes"`

	// The collector's work while building and serving, forced collections left out: see
	// measure.Collection.
	GCCycles        int64   `json:"gc_cycles"`
	GCCPUSeconds    float64 `json:"gc_cpu_seconds"`
	STWTotalSeconds float64 `json:"stw_total_seconds"`
	STWWorstSeconds float64 `json:"stw_worst_seconds"`

	// ForcedGCSeconds is the median of three runtime.GC with the whole index built.
	ForcedGCSeconds float64 `json:"forced_gc_seconds"`

	// Query latencies: exact, of all queries.
	QueryP50  int64 `json:"query_p50_ns"`
	QueryP99  int64 `json:"query_p99_ns"`
	QueryP999 int64 `json:"query_p999_ns"`
	QueryMax  int64 `json:"query_max_ns"`

	// Off-heap memory with the whole index built (guard.Usage).
	ReservedBytes  int64 `json:"reserved_bytes"`
	CommittedBytes int64 `json:"committed_bytes"`
	ResidentBytes  int64 `json:"resident_bytes"`
	LiveBytes      int64 `json:"live_bytes"`

	// PeakRSSBytes is the most that the process had in RAM (VmHWM of /proc/self/status).
	PeakRSSBytes int64 `json:"peak_rss_bytes"`
}

// setCollection fills in the collector's work.
func (f *Figures) setCollection(c measure.Collection) {
	f.GCCycles, f.GCCPUSeconds = c.Cycles, c.CPUSeconds
	f.STWTotalSeconds, f.STWWorstSeconds = c.STWTotalSeconds, c.STWWorstSeconds
}

// setLatencies fills in the latencies. It sorts them.
func (f *Figures) setLatencies(latencies []time.Duration) {
	slices.Sort(latencies)
	at := func(thousandths int) int64 {
		return int64(latencies[min(len(latencies)*thousandths/1000, len(latencies)-1)])
	}
	f.QueryP50, f.QueryP99, f.QueryP999, f.QueryMax = at(500), at(990), at(999), at(1000)
}

// setMemory fills in the memory figures and the time of a forced collection. It forces three.
func (f *Figures) setMemory() {
	f.PeakRSSBytes = workload.Peak()
	var times [3]time.Duration
	for i := range times {
		start := time.Now()
		runtime.GC()
		times[i] = time.Since(start)
	}
	f.ForcedGCSeconds = measure.Median(times[:]).Seconds()
	f.LiveObjects = int64(measure.Metric("/gc/heap/objects:objects").Uint64())
	f.GoHeapBytes = int64(measure.Metric("/memory/classes/heap/objects:bytes").Uint64())

	u := guard.Usage()
	f.ReservedBytes, f.CommittedBytes, f.ResidentBytes, f.LiveBytes = u.Reserved, u.Committed, u.Resident, u.Live
}
