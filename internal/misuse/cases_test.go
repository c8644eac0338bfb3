package misuse

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// cannotExist has the cases of other suites that have no Go form, and why.
var cannotExist = map[string]string{
	"hardened_malloc: string_overflow": "strings have lengths: nothing looks for a zero byte behind an object",
	"OpenBSD malloc_errs: t0":          "it aborts itself, to test its driver",
	"OpenBSD malloc_errs: t19":         "a slice that is shorter than the object asks to keep less",
}

// theirs has the names of the cases of other suites.
var theirs = map[string]string{
	"hardened_malloc": `overflow_large_1_byte overflow_large_8_byte read_after_free_large read_zero_size write_after_free_large
		write_after_free_large_reuse write_zero_size

		delete_type_size_mismatch double_free_large double_free_large_delayed double_free_small double_free_small_delayed
		invalid_aligned_sized_delete_large invalid_aligned_sized_delete_small invalid_free_protected invalid_free_small_region
		invalid_free_small_region_far invalid_free_unprotected invalid_malloc_object_size_small
		invalid_malloc_object_size_small_quarantine invalid_malloc_usable_size_small invalid_malloc_usable_size_small_quarantine
		overflow_small_1_byte overflow_small_8_byte unaligned_free_large unaligned_free_small unaligned_malloc_usable_size_small
		uninitialized_free uninitialized_malloc_usable_size uninitialized_realloc write_after_free_small
		write_after_free_small_reuse

		aligned_sized_delete_large aligned_sized_delete_small aligned_sized_delete_small_min_align calloc_overflow calloc_zeroed
		free_sized_large free_sized_small impossibly_large_malloc large_array_growth malloc_noreuse malloc_object_size
		malloc_object_size_offset malloc_object_size_zero malloc_zero_different read_after_free_small realloc_init string_overflow
		uninitialized_read_large uninitialized_read_small`,
	"OpenBSD malloc_errs": "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19 t20 t21 t22 t23",
	"isoalloc": `double_free big_double_free heap_overflow heap_underflow leaks_test wild_free unaligned_free
		incorrect_chunk_size_multiple big_canary_test zero_alloc sized_free
		tests big_tests interfaces_test thread_tests tagged_ptr_test pool_test`,
	"snmalloc corruption_detection": `double_free uaf_freelist remote_double_free remote_uaf large_double_free oob_into_neighbor`,
}

// TestMisuseTable looks at the table of cases: each is there once, has an outcome for each mode, and no case of
// another suite is left out.
func TestMisuseTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range suites {
		for _, c := range s.cases {
			name := s.name + ": " + c.name
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
			if c.want.plain == "" && c.want.hardened == "" && c.want.race == "" || c.want.invariants != "" && c.want.plain == "" {
				t.Errorf("%s: no outcome where there should be one: %+v", name, c.want)
			}
			if (c.want.hardened != "") != s.heaps || (c.want.sampled != "") != s.heaps {
				t.Errorf("%s: heaps, and nothing else, have a hardened and a sampled outcome: %+v", name, c.want)
			}
			if c.want.hardened == notCaught {
				t.Errorf("%s: a hardened heap does not catch it", name)
			}
			for _, m := range modes() {
				if want := m.want(c.want); valid(c) && want != fine && want != "" || !valid(c) && want == fine && m.name != "hardened" {
					t.Errorf("%s: fine in some modes only: %+v", name, c.want)
				}
			}
		}
	}
	for s, names := range theirs {
		for _, name := range strings.Fields(names) {
			name = s + ": " + name
			if _, none := cannotExist[name]; none == seen[name] {
				t.Errorf("%s is in the table: %v, and cannot exist: %v", name, seen[name], none)
			}
		}
	}
}

// TestMisuseWouldNotice shows that TestMisuse can fail.
func TestMisuseWouldNotice(t *testing.T) {
	for _, c := range []struct {
		end, want string
		meets     bool
	}{
		{"end", fine, true},
		{"end", notCaught, true},
		{"end", "panic: end", false},
		{"", notCaught, false},
		{"violation: a (0xADDR, offset 12)", "violation: a (0xADDR, offset #)", true},
		{"violation: a (0xADDR, offset 12)", "violation: a (0xADDR, offset 1)", false},
		{"violation: a (0xADDR, offset 12), and then b", "violation: a (0xADDR, offset #)", false},
		{"violation: a (0xADDR, offset 12) +allocated", "violation: a (0xADDR, offset #)", false},
		{`violation: a ("b", 0xADDR)`, `violation: a ("*", 0xADDR)`, true},
		{`violation: a ("b", "c", 0xADDR)`, `violation: a ("*", 0xADDR)`, false},
		{"fault: a", "violation: a", false},
	} {
		if meets(c.end, c.want) != c.meets {
			t.Errorf("%q for %q: %v", c.end, c.want, !c.meets)
		}
	}
	for said, want := range map[string]string{
		"a\nb":                                  "panic: a",
		"a\nallocated at\nb\n\nfreed at\nc\n":   "panic: a +allocated +freed",
		"a\nb was allocated at\nc, freed at\nd": "panic: a",
	} {
		if end := ending(func() { panic(said) }); end != want {
			t.Errorf("a panic with %q ends as %q, want %q", said, end, want)
		}
	}
	if _, err := ends(os.Args[0], "default", nil); err != nil && !errors.Is(err, syscall.ENOEXEC) {
		t.Error(err)
	}
}
