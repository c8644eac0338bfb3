package leaftest

import (
	"strings"
	"testing"
)

const (
	folder = "./testdata/leaves"
	path   = percpu + "/leaftest/testdata/leaves."
)

func TestLeaves(t *testing.T) {
	Check(t, folder, "leaf", "(*heap).method")
	CheckGiven(t, folder, "given")
}

// TestFaults reads functions that are no leaves.
func TestFaults(t *testing.T) {
	for _, arch := range architectures {
		if testing.Short() && arch != "amd64" {
			continue
		}
		for _, c := range []struct {
			build  build
			faults map[string]string // a part of them, by the function
		}{
			{plain, map[string]string{
				"split":    "split is not nosplit\n" + path + "split has safe points\n" + path + "split calls runtime.morestack",
				"calls":    "calls calls " + path + "slow",
				"callsAny": "callsAny calls indirect",
				"bounds":   "bounds calls runtime.panicBounds",
				"barrier":  "barrier calls runtime.gcWriteBarrier",
				"twice":    "twice calls runtime.getm 2 times, not 1",
				"given":    "given calls runtime.getm 0 times, not 1",
				"missing":  "the module has no " + path + "missing",
				"helped":   "",
			}},
			{instrumented, map[string]string{
				"method":   "the module has no sync/atomic.(*Uint32).Load",
				"helped":   "helper has safe points",
				"calls":    "slow has safe points",
				"callsAny": "the module has no indirect",
				"twice":    "twice calls runtime.getm 2 times, not 1",
			}},
		} {
			code := c.build.code(t, arch, folder)
			for function, fault := range c.faults {
				faults := strings.Join(code.Faults(path+function, 1, c.build.plain), "\n")
				if !strings.Contains(faults, fault) || (faults == "") != (fault == "") {
					t.Errorf("%s, built %s: %s should have the fault %q, and has\n%s", arch, c.build.name, function, fault, faults)
				}
			}
		}
	}
}
