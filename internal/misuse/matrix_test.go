package misuse

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the matrix of the table of cases to MISUSE.md")

// TestMatrix compares the matrix in MISUSE.md with the table of cases. With -update it writes it.
func TestMatrix(t *testing.T) {
	const (
		path  = "../../MISUSE.md"
		begin = "<!-- misuse -->\n"
		end   = "<!-- /misuse -->\n"
	)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(file), begin)
	got, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("MISUSE.md has no line %q followed by a line %q", begin, end)
	}
	want := matrix()
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("MISUSE.md differs from the table of cases (go test -run TestMatrix ./internal/misuse -update writes it). It is to have:\n%s", want)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o666); err != nil {
		t.Fatal(err)
	}
}

// matrix returns a table of how many cases of each suite are caught in each mode, and a list of the
// cases that are not caught.
func matrix() string {
	var b strings.Builder
	b.WriteString("| cases | misuse | default | hardened | sampled | invariants | race | valid | false positives |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	all := suite{name: "all"}
	for _, s := range suites {
		all.cases = append(all.cases, s.cases...)
		b.WriteString(s.row())
	}
	b.WriteString(all.row() + "\n")
	for _, m := range modes() {
		fmt.Fprintf(&b, "- **%s**: %s\n", m.name, m.misses())
	}
	return b.String()
}

// row returns the line of a suite.
func (s suite) row() string {
	misused, right, wrong := 0, 0, 0
	for _, c := range s.cases {
		if !valid(c) {
			misused++
			continue
		}
		right++
		if slices.ContainsFunc(modes(), func(m mode) bool { return m.want(c.want) != fine && m.want(c.want) != "" }) {
			wrong++
		}
	}
	row := fmt.Sprintf("| %s | %d", s.name, misused)
	for _, m := range modes() {
		caught, of := 0, 0
		for _, c := range s.cases {
			if want := m.want(c.want); !valid(c) && want != "" {
				of++
				if want != notCaught {
					caught++
				}
			}
		}
		switch of {
		case 0:
			row += " | –"
		case misused:
			row += fmt.Sprintf(" | %d", caught)
		default:
			row += fmt.Sprintf(" | %d of %d", caught, of)
		}
	}
	return row + fmt.Sprintf(" | %d | %d |\n", right, wrong)
}

// misses lists the cases that a mode does not catch, by the kind of misuse. For invariants it lists only
// the difference from default.
func (m mode) misses() string {
	names := map[string][]string{}
	var kinds, besides []string
	missed := 0
	for _, s := range suites {
		for _, c := range s.cases {
			want := m.want(c.want)
			if want == notCaught {
				missed++
				kind := c.kind(s)
				if names[kind] == nil {
					kinds = append(kinds, kind)
				}
				names[kind] = append(names[kind], c.name)
			} else if c.want.plain == notCaught {
				besides = append(besides, c.name)
			}
		}
	}
	switch {
	case missed == 0:
		return "all are caught."
	case m.name == "invariants":
		return fmt.Sprintf("%d are not caught: the cases of default, except %s.", missed, strings.Join(besides, ", "))
	}
	text := fmt.Sprintf("%d are not caught:", missed)
	for _, kind := range kinds {
		text += fmt.Sprintf("\n  - %s: %s", kind, strings.Join(names[kind], ", "))
	}
	return text
}

// kind returns the kind of misuse, in the words of a hardened heap where it notices the case, else the
// name of the suite.
func (c misuse) kind(s suite) string {
	switch c.want.hardened {
	case "":
		return s.name
	case fine:
		return "read of freed memory"
	case nothingTouched:
		return "touch of an object of no bytes"
	}
	_, what, _ := strings.Cut(strings.TrimPrefix(c.want.hardened, "violation: "), ": ")
	what, _, _ = strings.Cut(what, " (")
	return what
}
