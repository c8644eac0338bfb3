package region

import (
	"runtime"
	"testing"
	"time"
)

// TestCountDoesNotKeepAlive loses a region to which its own counter refers: it is reported all the same, with the last
// figures.
func TestCountDoesNotKeepAlive(t *testing.T) {
	reports := make(chan Info, 10)
	SetOnLeak(func(in Info) { reports <- in })
	defer SetOnLeak(nil)
	rec := func() *record {
		r, err := Reserve(Config{Name: "counted", Size: PageSize()})
		if err != nil {
			t.Fatal(err)
		}
		r.CountLive(func() (int, int64, bool) { return 1, int64(r.Size()), true })
		find("counted")
		return r.rec
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case in := <-reports:
			if in.Name == "counted" && in.Live != int64(PageSize()) {
				t.Errorf("live are %d bytes, want %d", in.Live, PageSize())
			}
			(&Region{rec: rec, base: rec.base}).Close()
			return
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("no report")
			}
		}
	}
}
