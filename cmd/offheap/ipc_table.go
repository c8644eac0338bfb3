package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/messages"
)

// mechanismWidth makes the first column equally wide in all tables, which align to the right.
const mechanismWidth = 16

// printMessages writes the tables for people: one for each size, and one of the features.
func printMessages(w io.Writer, job messages.Job, r *messages.Report) error {
	for _, bytes := range job.Sizes {
		if err := printSize(w, job.Mechanisms, bytes, r); err != nil {
			return err
		}
	}
	return printFeatures(w, job.Mechanisms, r)
}

// printSize writes the table of a size, if anything was measured of it.
func printSize(w io.Writer, mechanisms []messages.Mechanism, bytes int, r *messages.Report) error {
	of := func(m messages.Mechanism, p messages.Pattern, touched bool) *messages.Result {
		i := slices.IndexFunc(r.Results, func(x messages.Result) bool {
			return x.Mechanism == m && x.Pattern == p && x.Touched == touched && x.Bytes == bytes
		})
		if i < 0 {
			return nil
		}
		return &r.Results[i]
	}
	if !slices.ContainsFunc(r.Results, func(x messages.Result) bool { return x.Bytes == bytes }) {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\tone way\tGB/s\tCPU s/GB\tp50\tp99\thanded over\tping-pong\tp99\tCPU s/GB\t\n", mechanismWidth, humanize.IBytes(uint64(bytes)))
	for _, m := range mechanisms {
		refused := refusal(r.Features[m], bytes)
		if refused {
			fmt.Fprintf(t, "%-*s\tnot possible\t\t\t\t\t\t\t\t\t\n", mechanismWidth, m)
			continue
		}
		one, handed, both := of(m, messages.OneWay, true), of(m, messages.OneWay, false), of(m, messages.PingPong, true)
		if one == nil {
			continue
		}
		fmt.Fprintf(t, "%-*s\t%s\t%.3g\t%.3g\t%s\t%s\t", mechanismWidth, m, perSecond(one.MessagesPerSecond), one.GBPerSecond(), one.CPUSecondsPerGB, latency(one.P50), latency(one.P99))
		if handed != nil {
			fmt.Fprint(t, perSecond(handed.MessagesPerSecond))
		}
		fmt.Fprint(t, "\t")
		if both != nil {
			fmt.Fprintf(t, "%s\t%s\t%.3g\t\n", latency(both.P50), latency(both.P99), both.CPUSecondsPerGB)
		} else {
			fmt.Fprint(t, "\t\t\t\n")
		}
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func latency(ns int64) string { return nanoseconds(float64(ns)) }

// refusal tells whether a mechanism refuses a size.
func refusal(f *messages.Features, bytes int) bool {
	return f != nil && slices.ContainsFunc(f.NotPossible, func(x messages.Refusal) bool { return x.Bytes == bytes })
}

// printFeatures writes what the mechanisms can do, and why they refuse sizes.
func printFeatures(w io.Writer, mechanisms []messages.Mechanism, r *messages.Report) error {
	if len(r.Features) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\tcopies\tevery reader gets a message\tkeeps boundaries\tin a file\tsurvives its process\t\n", mechanismWidth, "")
	for _, m := range mechanisms {
		f := r.Features[m]
		if f == nil || f.Unknown != "" {
			continue
		}
		fmt.Fprintf(t, "%-*s\t%d\t%s\t%s\t%s\t%s\t\n", mechanismWidth, m, f.Copies, yes(f.SharedByReaders), yes(f.MessageBoundaries), yes(f.FileBacked), yes(f.SurvivesProcess))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range mechanisms {
		f := r.Features[m]
		if f == nil {
			continue
		}
		if f.Unknown != "" {
			fmt.Fprintf(w, "Not possible: %s: %s\n", m, f.Unknown)
			continue
		}
		for _, x := range f.NotPossible {
			fmt.Fprintf(w, "Not possible: %s, %s: %s\n", m, humanize.IBytes(uint64(x.Bytes)), x.Why)
		}
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
