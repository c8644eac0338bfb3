package vm

import (
	"bufio"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Probe looks at the kernel and the process's limits, once.
var Probe = sync.OnceValue(func() Features {
	f := Features{
		PageSize:     unix.Getpagesize(),
		HugePageSize: int(number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")),
		HugePageMode: chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
		MaxMappings:  int(number("/proc/sys/vm/max_map_count")),
		AddressSpace: rlimit(unix.RLIMIT_AS),
		LockedMemory: rlimit(unix.RLIMIT_MEMLOCK),
		CgroupLimit:  cgroupLimit(),
	}
	switch content("/proc/sys/vm/overcommit_memory") {
	case "0":
		f.Overcommit = "heuristic"
	case "1":
		f.Overcommit = "always"
	case "2":
		f.Overcommit = "never"
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		f.PhysicalSize = uint64(info.Totalram) * uint64(info.Unit)
	}
	probeMapping(&f)
	return f
})

// probeMapping tries, on a page of its own, what can only be known by trying.
func probeMapping(f *Features) {
	n := uintptr(f.PageSize)
	p, err := unix.MmapPtr(-1, 0, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return
	}
	defer unix.MunmapPtr(p, n)
	try := func(advice int) bool { return unix.Madvise(bytes(p, n), advice) == nil }
	// By the effect and not by the answer: emulators say yes to advice they do not know.
	inRAM := func() (yes bool) {
		err := residency(p, n, n, func(_ uintptr, in []byte) bool {
			yes = in[0]&1 != 0
			return false
		})
		return err == nil && yes
	}
	f.Populate = try(madvPopulateWrite) && inRAM()
	f.Names = Name(p, n, "offheap: probe") == nil
	*(*byte)(p) = 1
	f.LightGuards = try(madvGuardInstall) && !inRAM() && try(madvGuardRemove) && *(*byte)(p) == 0
}

func rlimit(which int) uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(which, &l) != nil {
		return Unlimited
	}
	return uint64(l.Cur) // RLIM_INFINITY is Unlimited
}

// FreeAddresses returns how many bytes of addresses the process may still reserve: the current RLIMIT_AS less the bytes
// mapped; Unlimited where there is no limit.
func FreeAddresses() uint64 {
	limit := rlimit(unix.RLIMIT_AS)
	if limit == Unlimited {
		return Unlimited
	}
	mapped, _, _ := strings.Cut(content("/proc/self/statm"), " ") // in OS pages; unknown without /proc
	n, _ := strconv.ParseUint(mapped, 10, 64)
	return limit - min(limit, n*uint64(unix.Getpagesize()))
}

func content(file string) string {
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}

// number reads a file that holds one; 0 where it cannot be read.
func number(file string) uint64 {
	n, _ := strconv.ParseUint(content(file), 10, 64)
	return n
}

// chosen reads the bracketed word of a sysfs choice: "always [madvise] never".
func chosen(file string) string {
	_, rest, _ := strings.Cut(content(file), "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// cgroupLimit is the smallest memory limit of the process's control group and
// of those around it, for version 2 and 1 of the hierarchy.
func cgroupLimit() uint64 {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return Unlimited
	}
	defer f.Close()
	limit := Unlimited
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// "hierarchy:controllers:path"; version 2 has no controllers.
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, name := "/sys/fs/cgroup", "memory.max"
		switch {
		case parts[1] == "":
		case strings.Contains(","+parts[1]+",", ",memory,"):
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			// "max" does not parse and reads as 0: no limit. Version 1 writes a huge figure.
			if n := number(path.Join(root, dir, name)); n > 0 && n < 1<<62 {
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}
