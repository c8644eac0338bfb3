package misuse

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestReadmeMatrix wants README.md to show what the table of cases promises.
func TestReadmeMatrix(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- misuse -->\n", "<!-- /misuse -->\n"
	_, rest, begins := strings.Cut(string(readme), from)
	got, _, ends := strings.Cut(rest, to)
	if want := readmeMatrix(); !begins || !ends || got != want {
		t.Errorf("README.md is to have, instead of what is there:\n%s%s%s", from, want, to)
	}
}

// readmeMatrix is how many cases of each suite are caught in each mode, and which are not.
func readmeMatrix() string {
	var b strings.Builder
	b.WriteString("| cases | misuse | default | hardened | sampled | invariants | valid | false positives |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
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

// row is the line of a suite.
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

// misses says what a mode does not catch, by what is wrong. Of what checks of invariants do not catch,
// only the difference is told.
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
		return fmt.Sprintf("%d are not caught: those of default, but for %s.", missed, strings.Join(besides, ", "))
	}
	text := fmt.Sprintf("%d are not caught:", missed)
	for _, kind := range kinds {
		text += fmt.Sprintf("\n  - %s: %s", kind, strings.Join(names[kind], ", "))
	}
	return text
}

// kind is what is wrong, as a hardened heap tells it, if it does.
func (c misuse) kind(s suite) string {
	switch c.want.hardened {
	case "":
		return s.name
	case fine:
		return "what was freed is read"
	case nothingTouched:
		return "an object of no bytes is touched"
	}
	_, what, _ := strings.Cut(strings.TrimPrefix(c.want.hardened, "violation: "), ": ")
	what, _, _ = strings.Cut(what, " (")
	return what
}
