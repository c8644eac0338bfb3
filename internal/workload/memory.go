package workload

import (
	"bufio"
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
)

// Resident returns how many bytes of the process are in RAM; -1 where the system does not tell.
func Resident() int64 { return ProcessStatus("VmRSS:") }

// Peak returns the most bytes that the process had in RAM since it started, or since RestartPeak; -1
// where the system does not tell. getrusage would count the process that started this one.
func Peak() int64 { return ProcessStatus("VmHWM:") }

// RestartPeak gives unused memory of the Go heap back to the system, restarts the count of Peak where
// the system can, and returns Resident.
func RestartPeak() int64 {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return Resident()
}

// ProcessStatus returns a size that /proc/self/status lists, in bytes; -1 where there is none. The key
// ends in a colon: "VmPTE:".
func ProcessStatus(key string) int64 {
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
