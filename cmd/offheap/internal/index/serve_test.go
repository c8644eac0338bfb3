package index

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func smallTree(t *testing.T) string {
	files := make(map[string]string)
	for i := range 40 {
		files[fmt.Sprintf("dir%d/file%d.txt", i%4, i)] = strings.Repeat(fmt.Sprintf("word%d shared text number%d here. ", i%7, i), 1+i)
	}
	return tree(t, files)
}

func TestMeasure(t *testing.T) {
	c, err := Survey(smallTree(t), 1000, quiet)
	if err != nil {
		t.Fatal(err)
	}
	reports := make(map[Side]*Report)
	for _, side := range []Side{GoHeap, OffHeap} {
		r, err := Measure(side, c, quiet)
		if err != nil {
			t.Fatal(err)
		}
		f := r.Figures
		if f.BuildSeconds <= 0 || f.GoHeapBytes <= 0 || f.LiveObjects <= 0 || f.ForcedGCSeconds <= 0 ||
			f.QueryP50 <= 0 || f.QueryP50 > f.QueryP99 || f.QueryP99 > f.QueryP999 || f.QueryP999 > f.QueryMax {
			t.Errorf("%s: implausible figures %+v", side, f)
		}
		if off := side == OffHeap; (f.LiveBytes > 0) != off || f.LiveBytes > f.CommittedBytes || f.CommittedBytes > f.ReservedBytes {
			t.Errorf("%s: implausible off-heap figures %+v", side, f)
		}
		if runtime.GOOS == "linux" && f.PeakRSSBytes <= 0 {
			t.Errorf("%s: peak RSS %d", side, f.PeakRSSBytes)
		}
		reports[side] = r
	}
	if len(reports[GoHeap].Answers) != 1000 || !reflect.DeepEqual(reports[GoHeap].Answers, reports[OffHeap].Answers) {
		t.Error("answers differ")
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct{ documents, queries int }{{1, 1}, {9, 5}, {10, 3}, {1000, 200}, {1000, 7}, {50, 10000}} {
		last := due(c.documents, c.queries, -1)
		if last < c.documents*9/10 || last == 0 {
			t.Errorf("%+v: %d before serving", c, last)
		}
		step := c.documents/heldBack/c.queries + 1
		for i := range c.queries {
			n := due(c.documents, c.queries, i)
			if n < last || n > last+step {
				t.Errorf("%+v: %d, then %d with query %d", c, last, n, i)
			}
			last = n
		}
		if last != c.documents {
			t.Errorf("%+v: %d at the end", c, last)
		}
	}
}

func TestMeasureNoticesChange(t *testing.T) {
	dir := smallTree(t)
	c, err := Survey(dir, 10, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dir0", "file0.txt"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Measure(OffHeap, c, quiet); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("error %v", err)
	}
}

func TestServed(t *testing.T) {
	latencies := make([]time.Duration, 2000)
	for i := range latencies {
		latencies[i] = time.Duration(len(latencies) - i)
	}
	var f Figures
	f.setLatencies(latencies)
	if f.QueryP50 != 1001 || f.QueryP99 != 1981 || f.QueryP999 != 1999 || f.QueryMax != 2000 {
		t.Errorf("%+v", f)
	}
}
