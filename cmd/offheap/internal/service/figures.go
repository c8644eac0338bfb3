package service

// Latencies are percentiles of a loop's requests, in nanoseconds; at most 1.6 % too long, but the maximum is exact.
type Latencies struct {
	P50   int64 `json:"p50_ns"`
	P99   int64 `json:"p99_ns"`
	P999  int64 `json:"p999_ns"`
	P9999 int64 `json:"p9999_ns"`
	Max   int64 `json:"max_ns"`
}

// Figures are the figures of one service.
type Figures struct {
	// LimitBytes is the limit of the process: GOMEMLIMIT, and for memory off the heap the budget, too. 0 is none.
	LimitBytes int64 `json:"limit_bytes"`

	// The closed loop.
	RequestsPerSecond float64 `json:"ops_per_second"`
	Latencies
	CPUPerRequest float64 `json:"cpu_ns_per_op"` // of all threads, user and system (getrusage)

	// GCCPUSeconds is what the collector took in both loops: see measure.Collection.
	GCCPUSeconds float64 `json:"gc_cpu_seconds"`

	// ForcedGCSeconds is the time of one runtime.GC with all entries, while nothing else runs.
	ForcedGCSeconds float64 `json:"forced_gc_seconds"`

	// PeakRSSBytes is the most that the process had in RAM up to the end of both loops (VmHWM of
	// /proc/self/status); -1 where the system does not tell.
	PeakRSSBytes int64 `json:"peak_rss_bytes"`

	// OpenLoop has latencies from the time at which requests were due.
	OpenLoop Latencies `json:"open_loop"`

	// Series is the closed loop in steps of 100 ms.
	Series []Interval `json:"series"`
}

// Interval is a tenth of a second of the closed loop. A request counts where it ends.
type Interval struct {
	Requests int64 `json:"ops"`
	Max      int64 `json:"max_ns"`
}

// Plenty are figures of a closed loop without a limit, with GOGC=100.
type Plenty struct {
	RequestsPerSecond float64
	Latencies
	CPUPerRequest float64
	Cycles        int64 // collections that ended
	PeakRSSBytes  int64
}

// Report is what Measure finds of one service. After an interrupt, figures of what was not begun are zero.
type Report struct {
	Figures
	LoadSeconds  float64
	Cycles       int64 // collections in both loops
	Closed, Open Loop
	Plenty       *Plenty
	Search       *Search
	Interrupted  bool

	// Error is why there are no more figures; "" after success.
	Error string
}

// Loop is how far a loop came, and the checksums of its answers, for each worker.
type Loop struct {
	Requests int64
	Late     bool // the open loop could not keep up, and was ended early
	Sums     []Sums
}

// Sums condense the answers that one worker gave.
type Sums struct {
	Sum     uint64
	Answers int
	Every   []uint64 // the sum after each sumEvery answers
}

// Compare compares the answers of two services to the same requests. One may have served more requests than the
// other: then the requests that both have served are compared, but for the last 1023 at most of each worker.
func (l *Loop) Compare(other *Loop) (compared int64, equal bool) {
	if len(l.Sums) != len(other.Sums) {
		return 0, false
	}
	for i := range l.Sums {
		a, b := &l.Sums[i], &other.Sums[i]
		if a.Answers == b.Answers {
			if a.Sum != b.Sum {
				return compared, false
			}
			compared += int64(a.Answers)
			continue
		}
		common := min(len(a.Every), len(b.Every))
		if common > 0 && a.Every[common-1] != b.Every[common-1] {
			return compared, false
		}
		compared += int64(common) * sumEvery
	}
	return compared, true
}

// Search is the result of a search for the limit at which Go serves as many requests as it must.
type Search struct {
	LimitBytes        int64   `json:"limit_bytes"`    // the smallest that is enough, or the largest that was tried
	RequestsPerSecond float64 `json:"ops_per_second"` // with that limit
	Reached           bool    `json:"reached"`
}
