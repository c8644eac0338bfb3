package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/seed-9a6c551e/offheap/guard"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

const infoAbout = `Shows the features and limits of this machine and this process, and how offheap uses them.`

// machine has the figures that -json prints. It leaves out limits that are not set, and figures that
// the system does not tell.
type machine struct {
	System       string   `json:"system"`
	PageBytes    int      `json:"page_bytes"`
	HugeBytes    int      `json:"huge_page_bytes,omitempty"`
	HugeMode     string   `json:"huge_page_mode,omitempty"`
	LightGuards  bool     `json:"light_guards"`
	Populate     bool     `json:"populate"`
	Names        bool     `json:"names"`
	MaxMappings  int      `json:"max_mappings,omitempty"`
	AddressSpace uint64   `json:"address_space_bytes,omitempty"`
	LockedMemory uint64   `json:"locked_memory_bytes,omitempty"`
	Overcommit   string   `json:"overcommit,omitempty"`
	Cgroup       uint64   `json:"cgroup_bytes,omitempty"`
	RAM          uint64   `json:"ram_bytes,omitempty"`
	Therefore    []string `json:"therefore"`
}

func info(args []string, stdout, stderr io.Writer) int {
	f := newFlags("info [-json]", infoAbout, stdout, stderr)
	asJSON := f.Bool("json", false, "print one JSON object instead of a table")
	if status, ok := f.parse(args, 0); !ok {
		return status
	}
	m := describe(vm.Probe(), guard.LightGuards())
	err := error(nil)
	if *asJSON {
		err = printJSON(stdout, m)
	} else {
		err = m.print(stdout)
	}
	if err != nil {
		return f.fail(err)
	}
	return statusOK
}

// describe puts the features into words. lightGuards is false if the environment forbids markers that
// the kernel has.
func describe(v vm.Features, lightGuards bool) machine {
	m := machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, PageBytes: v.PageSize, HugeBytes: v.HugePageSize, HugeMode: v.HugePageMode,
		LightGuards: v.LightGuards, Populate: v.Populate, Names: v.Names, MaxMappings: v.MaxMappings,
		AddressSpace: set(v.AddressSpace), LockedMemory: set(v.LockedMemory), Overcommit: v.Overcommit, Cgroup: set(v.CgroupLimit), RAM: v.PhysicalSize,
	}
	say := func(format string, args ...any) { m.Therefore = append(m.Therefore, fmt.Sprintf(format, args...)) }

	switch {
	case lightGuards:
		say("guards inside regions: lightweight markers, one mapping however many")
	case v.LightGuards:
		say("guards inside regions: PROT_NONE pages, as OFFHEAP_GUARDS asks; %s", guardsFit(v))
	default:
		say("guards inside regions: PROT_NONE pages, for the kernel has no markers (Linux 6.13); %s", guardsFit(v))
	}
	switch {
	case m.AddressSpace != 0:
		say("reservations: at most %s of addresses for the whole process (RLIMIT_AS); a Config without a size takes a quarter of the rest, at most", humanize.IBytes(m.AddressSpace))
	case v.Overcommit == "never":
		say("reservations: of any size, but committed memory counts against the kernel's commit limit (vm.overcommit_memory=2)")
	default:
		say("reservations: of any size that addresses allow; they cost nothing until they are used")
	}
	if v.MaxMappings > 0 {
		say("mappings: regions together take at most %s, half of what the process may hold (vm.max_map_count); beyond that, an error", humanize.Comma(int64(v.MaxMappings/2)))
	}
	switch v.HugePageMode {
	case "always":
		say("huge pages: the kernel uses them of itself wherever they fit")
	case "madvise":
		say("huge pages: only where Config.HugePages asks for them")
	default:
		say("huge pages: none; Config.HugePages changes nothing")
	}
	if v.Populate {
		say("prefault: one system call for each stretch committed")
	} else {
		say("prefault: by touching each OS page, for the kernel cannot populate (Linux 5.14)")
	}
	switch bound := min(v.CgroupLimit, or(v.PhysicalSize, vm.Unlimited)); {
	case bound == vm.Unlimited:
		say("memory: bounded by nothing that could be found; set guard.Budget")
	case bound == v.CgroupLimit:
		say("memory: the control group allows %s and the kernel kills a process that takes more; set guard.Budget below it to get errors instead", humanize.IBytes(bound))
	default:
		say("memory: %s of RAM and no smaller limit; set guard.Budget to get errors before the kernel kills", humanize.IBytes(bound))
	}
	if m.LockedMemory != 0 {
		say("locked memory: Region.Lock up to %s (RLIMIT_MEMLOCK)", humanize.IBytes(m.LockedMemory))
	}
	if v.Names {
		say("names: regions are named in /proc/PID/maps")
	} else {
		say("names: the kernel does not show them")
	}
	return m
}

// guardsFit says how many guards fit into half of the mappings, the share of regions. A guard takes one
// mapping, and the memory up to the next guard another.
func guardsFit(v vm.Features) string {
	if v.MaxMappings == 0 {
		return "each splits a mapping"
	}
	return fmt.Sprintf("at most about %s in the process (vm.max_map_count)", humanize.Comma(int64(v.MaxMappings/4)))
}

// set returns a limit; 0 if there is none.
func set(limit uint64) uint64 {
	if limit == vm.Unlimited {
		return 0
	}
	return limit
}

// or returns n; otherwise if n is 0.
func or(n, otherwise uint64) uint64 {
	if n == 0 {
		return otherwise
	}
	return n
}

func (m *machine) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(what, value string) { fmt.Fprintf(t, "%s\t%s\n", what, value) }
	limit := func(n uint64) string {
		if n == 0 {
			return "none"
		}
		return humanize.IBytes(n)
	}
	known := func(s string) string {
		if s == "" {
			return "unknown"
		}
		return s
	}
	yes := func(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }

	line("system", m.System)
	line("OS page", humanize.IBytes(uint64(m.PageBytes)))
	if m.HugeBytes > 0 {
		line("huge page", humanize.IBytes(uint64(m.HugeBytes))+", "+known(m.HugeMode))
	} else {
		line("huge page", "none")
	}
	line("lightweight guards", yes(m.LightGuards))
	line("populate", yes(m.Populate))
	line("named mappings", yes(m.Names))
	mappings := "unknown"
	if m.MaxMappings > 0 {
		mappings = humanize.Comma(int64(m.MaxMappings))
	}
	line("mappings (vm.max_map_count)", mappings)
	line("addresses (RLIMIT_AS)", limit(m.AddressSpace))
	line("locked memory (RLIMIT_MEMLOCK)", limit(m.LockedMemory))
	line("overcommit", known(m.Overcommit))
	line("cgroup limit", limit(m.Cgroup))
	ram := "unknown"
	if m.RAM > 0 {
		ram = humanize.IBytes(m.RAM)
	}
	line("RAM", ram)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nTherefore:")
	for _, s := range m.Therefore {
		if _, err := fmt.Fprintf(w, "  %s\n", s); err != nil {
			return err
		}
	}
	return nil
}
