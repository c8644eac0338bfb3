package index

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func quiet(string, int, int) {}

// tree writes files below a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSurvey(t *testing.T) {
	late := strings.Repeat("x ", probe/2) + "\x00" // a zero byte after the first 8 KiB
	dir := tree(t, map[string]string{
		"b/two.txt": "beta gamma", "a.txt": "alpha", "empty": "", "binary": "ELF\x00", "late": late,
	})
	if err := os.Symlink(filepath.Join(dir, "a.txt"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	c, err := Survey(dir, 30, quiet)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range c.Documents.Len() {
		names = append(names, filepath.ToSlash(string(c.Documents.At(i))))
	}
	if want := []string{"a.txt", "b/two.txt", "late"}; !reflect.DeepEqual(names, want) {
		t.Errorf("documents %q, want %q", names, want)
	}
	if want := int64(len("alpha") + len("beta gamma") + len(late)); c.Bytes != want || c.Skipped != 0 {
		t.Errorf("%d bytes, %d skipped; want %d and 0", c.Bytes, c.Skipped, want)
	}
	if c.Queries.Len() != 30 {
		t.Errorf("%d queries", c.Queries.Len())
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	again, err := Survey(link, 30, quiet)
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("a second survey, through a link, differs (%v)", err)
	}
}

func TestSurveyUnreadable(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "alpha", "closed.txt": "beta"})
	if err := os.Chmod(filepath.Join(dir, "closed.txt"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "closed.txt")); err == nil {
		t.Skip("this user may read everything")
	}
	if c, err := Survey(dir, 3, quiet); err != nil || c.Documents.Len() != 1 || c.Skipped != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSurveyRefuses(t *testing.T) {
	for what, dir := range map[string]string{
		"an empty folder": t.TempDir(),
		"no text":         tree(t, map[string]string{"a": "\x00"}),
		"no words":        tree(t, map[string]string{"a": "--- ---\n", "b": "..."}),
	} {
		if _, err := Survey(dir, 10, quiet); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), filepath.Base(dir)) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	for what, dir := range map[string]string{
		"a file":         filepath.Join(tree(t, map[string]string{"a": "x"}), "a"),
		"what is no dir": filepath.Join(t.TempDir(), "gone"),
	} {
		if _, err := Survey(dir, 10, quiet); err == nil || errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// TestQueries draws queries: each has one to three different words of one document, and words that are
// in every document only if there are no others.
func TestQueries(t *testing.T) {
	files := make(map[string]string)
	for _, c := range "abcdefghijklmnopqrst" {
		files[string(c)] = "common " + strings.Repeat(string(c)+"1 "+string(c)+"2 "+string(c)+"3 ", 3)
	}
	files["none"] = "..."
	c, err := Survey(tree(t, files), 300, quiet)
	if err != nil {
		t.Fatal(err)
	}
	lengths := make(map[int]int)
	for i := range c.Queries.Len() {
		query := bytes.Fields(c.Queries.At(i))
		lengths[len(query)]++
		for j, word := range query {
			if word[0] != query[0][0] || string(word) == "common" || j > 0 && bytes.Equal(word, query[0]) {
				t.Errorf("query %d is %q", i, query)
			}
		}
	}
	if c.Queries.Len() != 300 || len(lengths) != 3 || lengths[1] < 50 || lengths[2] < 50 || lengths[3] < 50 {
		t.Errorf("queries by their number of words: %v", lengths)
	}

	for name := range files {
		files[name] = "common"
	}
	if c, err = Survey(tree(t, files), 5, quiet); err != nil || string(c.Queries.At(0)) != "common" {
		t.Errorf("with nothing but common words: %v", err)
	}
}
