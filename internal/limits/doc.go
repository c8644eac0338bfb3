// Package limits tests every kind of allocator at the limits of the system. It has tests only:
//
//   - no more addresses (RLIMIT_AS), or a share of few
//   - no more mappings (vm.max_map_count)
//   - the memory limit of a control group
//   - locked memory (mlockall), and strictly accounted memory (vm.overcommit_memory=2)
//   - the size of core dumps
//   - builds without optimisation and with coverage counters
package limits
