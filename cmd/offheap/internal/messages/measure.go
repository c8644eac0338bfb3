package messages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/measure"
)

// Result has the figures of one measurement.
type Result struct {
	Mechanism Mechanism `json:"mechanism"`
	Pattern   Pattern   `json:"pattern"`
	Bytes     int       `json:"bytes"` // of a message
	Touched   bool      `json:"touched"`

	// MessagesPerSecond counts the messages of both ways.
	MessagesPerSecond float64 `json:"messages_per_second"`

	// CPUSecondsPerGB is the processor time of both processes for 10^9 bytes of messages.
	CPUSecondsPerGB float64 `json:"cpu_seconds_per_gb"`

	// P50 and P99 are nanoseconds. OneWay: from just before a message is sent until it is received, while the link is as full as
	// the sender can make it. PingPong: from just before a message is sent until the answer is received.
	P50 int64 `json:"p50_ns"`
	P99 int64 `json:"p99_ns"`
}

// GBPerSecond returns how many 10^9 bytes of messages are sent in a second.
func (r *Result) GBPerSecond() float64 { return r.MessagesPerSecond * float64(r.Bytes) / 1e9 }

// Refusal is a size that a mechanism does not take on this machine.
type Refusal struct {
	Bytes int    `json:"bytes"`
	Why   string `json:"why"`
}

// Job says what to measure.
type Job struct {
	Mechanisms []Mechanism
	Sizes      []int         // bytes of a message
	Time       time.Duration // of a measurement, about
}

// Report has all figures; after an error, those that there are.
type Report struct {
	Results  []Result                `json:"results"`
	Features map[Mechanism]*Features `json:"features"`
}

// cells are what is measured of each mechanism and size.
var cells = []struct {
	pattern Pattern
	touched bool
}{{OneWay, true}, {OneWay, false}, {PingPong, true}}

// Measure measures all mechanisms with all sizes. When ctx is done it returns what there is, and the error of ctx.
func Measure(ctx context.Context, start Side, j Job, progress measure.Progress) (*Report, error) {
	r := &Report{Results: []Result{}, Features: map[Mechanism]*Features{}}
	total := len(j.Mechanisms) * len(j.Sizes) * len(cells)
	done := 0
	for _, m := range j.Mechanisms {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		f, err := probe(ctx, start, m)
		if err != nil {
			return r, fmt.Errorf("%s: %w", m, err)
		}
		r.Features[m] = f
	}
	for _, bytes := range j.Sizes {
		for _, m := range j.Mechanisms {
			for i, cell := range cells {
				progress("measuring", done+i, total)
				l, err := makeLink(m, bytes)
				if err != nil {
					f := r.Features[m]
					f.NotPossible = append(f.NotPossible, Refusal{bytes, err.Error()})
					break
				}
				one := Result{Mechanism: m, Pattern: cell.pattern, Bytes: bytes, Touched: cell.touched}
				err = start.measure(ctx, l, &one, j.Time)
				if ctx.Err() != nil {
					return r, ctx.Err()
				}
				if err != nil {
					return r, fmt.Errorf("%s, %d bytes, %s: %w", m, bytes, cell.pattern, err)
				}
				r.Results = append(r.Results, one)
			}
			done += len(cells)
		}
	}
	return r, nil
}

// A measurement begins with short rounds, each longer than the one before, until one takes this part of its time.
const (
	firstMessages = 16
	shortRounds   = 8
	mostGrowth    = 64
)

// measure measures one link for about the time, and takes it over.
func (start Side) measure(ctx context.Context, l *link, r *Result, long time.Duration) (err error) {
	p, err := start.startPair(l, r.Pattern, r.Touched)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ended(p, err)) }()
	return p.whileAlive(ctx, func() error {
		n := firstMessages
		for {
			took, _, err := p.timed(n)
			if err != nil {
				return err
			}
			more := float64(long) / float64(max(took, 1))
			if more <= shortRounds {
				n = max(1, int(float64(n)*more))
				break
			}
			n = int(float64(n) * min(more/shortRounds*1.5, mostGrowth))
		}
		took, answers, err := p.timed(n)
		if err != nil {
			return err
		}
		messages := float64(n)
		if r.Pattern == PingPong {
			messages *= 2
		}
		r.MessagesPerSecond = messages / took.Seconds()
		r.CPUSecondsPerGB = (answers[0].CPU + answers[1].CPU).Seconds() / (messages * float64(r.Bytes) / 1e9)
		for _, a := range answers {
			if a.P50 != 0 {
				r.P50, r.P99 = a.P50, a.P99
			}
		}
		return nil
	})
}

// ended ends the pair after a measurement. After an error that killed the sides, their ends are no news.
func ended(p *pair, measured error) error {
	err := p.end()
	if measured != nil {
		return nil
	}
	return err
}

// timed does a round, and returns the time from the first message to the last.
func (p *pair) timed(n int) (time.Duration, [2]answer, error) {
	a, err := p.do(round{n})
	return time.Duration(max(a[0].End, a[1].End) - a[0].Start), a, err
}
