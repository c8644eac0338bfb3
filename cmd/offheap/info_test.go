package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

func TestInfo(t *testing.T) {
	status, stdout, stderr := runs("info")
	if status != 0 || stderr != "" || !strings.Contains(stdout, "OS page") || !strings.Contains(stdout, "Therefore:") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	status, stdout, stderr = runs("info", "-json")
	var m machine
	if err := json.Unmarshal([]byte(stdout), &m); err != nil || status != 0 || stderr != "" {
		t.Fatalf("status %d, %v, stderr %q", status, err, stderr)
	}
	if m.PageBytes != vm.Probe().PageSize || len(m.Therefore) == 0 {
		t.Errorf("%+v", m)
	}
}

func TestDescribe(t *testing.T) {
	plain := vm.Features{PageSize: 4096, AddressSpace: vm.Unlimited, LockedMemory: vm.Unlimited, CgroupLimit: vm.Unlimited}
	with := func(change func(*vm.Features)) vm.Features {
		f := plain
		change(&f)
		return f
	}
	for _, c := range []struct {
		features vm.Features
		light    bool
		says     []string
	}{
		{plain, false, []string{"each splits a mapping", "of any size", "none; Config.HugePages changes nothing", "touching each OS page", "bounded by nothing", "does not show"}},
		{with(func(f *vm.Features) { f.LightGuards = true }), true, []string{"one mapping however many"}},
		{with(func(f *vm.Features) { f.LightGuards, f.MaxMappings = true, 65530 }), false, []string{"as OFFHEAP_GUARDS asks; at most about 16,382"}},
		{with(func(f *vm.Features) { f.AddressSpace = 1 << 30 }), false, []string{"at most 1.0 GiB of addresses"}},
		{with(func(f *vm.Features) { f.Overcommit = "never" }), false, []string{"commit limit"}},
		{with(func(f *vm.Features) { f.HugePageMode = "always" }), false, []string{"of itself"}},
		{with(func(f *vm.Features) { f.HugePageMode = "madvise" }), false, []string{"only where Config.HugePages asks"}},
		{with(func(f *vm.Features) { f.Populate, f.Names = true, true }), false, []string{"one system call", "are named"}},
		{with(func(f *vm.Features) { f.PhysicalSize = 2 << 30 }), false, []string{"2.0 GiB of RAM"}},
		{with(func(f *vm.Features) { f.PhysicalSize, f.CgroupLimit = 2<<30, 1<<30 }), false, []string{"control group allows 1.0 GiB"}},
		{with(func(f *vm.Features) { f.LockedMemory = 8 << 20 }), false, []string{"up to 8.0 MiB"}},
	} {
		m := describe(c.features, c.light)
		said := strings.Join(m.Therefore, "\n")
		for _, s := range c.says {
			if !strings.Contains(said, s) {
				t.Errorf("%+v: %q is not in\n%s", c.features, s, said)
			}
		}
		if m.Cgroup == vm.Unlimited || m.AddressSpace == vm.Unlimited || m.LockedMemory == vm.Unlimited {
			t.Errorf("a limit that is not set is shown: %+v", m)
		}
	}
}
