package measure

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// Collector is a reading of the collector's counters.
type Collector struct {
	cycles     int64
	cpuSeconds float64
	stats      runtime.MemStats
}

// Collection is the collector's work between two readings.
type Collection struct {
	// Cycles counts collections (/gc/cycles/total:gc-cycles).
	Cycles int64

	// CPUSeconds is the processor time of collections. It counts processors that had nothing better to
	// do, too (/cpu/classes/gc/total:cpu-seconds).
	CPUSeconds float64

	// STWTotalSeconds is the time for which the world was stopped, in all (MemStats.PauseTotalNs).
	// STWWorstSeconds is the time of the worst cycle, its two stops taken together (MemStats.PauseNs,
	// which knows the last 256 cycles).
	STWTotalSeconds, STWWorstSeconds float64
}

// ReadCollector reads the counters. It stops the world for some microseconds.
func ReadCollector() (c Collector) {
	c.cycles = int64(Metric("/gc/cycles/total:gc-cycles").Uint64())
	c.cpuSeconds = Metric("/cpu/classes/gc/total:cpu-seconds").Float64()
	runtime.ReadMemStats(&c.stats)
	return c
}

// Since returns the collector's work between an earlier reading and c.
func (c *Collector) Since(earlier *Collector) Collection {
	done := Collection{
		Cycles:          c.cycles - earlier.cycles,
		CPUSeconds:      c.cpuSeconds - earlier.cpuSeconds,
		STWTotalSeconds: time.Duration(c.stats.PauseTotalNs - earlier.stats.PauseTotalNs).Seconds(),
	}
	ring := &c.stats.PauseNs
	for n := c.stats.NumGC; n > earlier.stats.NumGC && c.stats.NumGC-n < uint32(len(ring)); n-- {
		done.STWWorstSeconds = max(done.STWWorstSeconds, time.Duration(ring[(n+255)%256]).Seconds())
	}
	return done
}

// Metric reads one metric of package runtime/metrics.
func Metric(name string) metrics.Value {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value
}
