package workload

import (
	"runtime"
	"testing"
	"time"
)

// TestDraws compares with what the drivers for C allocators draw.
func TestDraws(t *testing.T) {
	live, r := 0, Random(1000)
	for range 100_000 {
		live += Size(SizeIndex(r.Next()))
	}
	if live != 17_088_448 {
		t.Errorf("%d bytes are live, want 17088448", live)
	}
	a, b := Random(7), Random(7)
	for range 1000 {
		place, size := a.Draw(100)
		if x := b.Next(); place != Below(x, 100) || place >= 100 || size != Size(SizeIndex(x)) {
			t.Fatalf("Draw returns %d and %d for %x", place, size, x)
		}
	}
}

// TestMemory lets the process grow by 64 MiB, which Resident and Peak must show.
func TestMemory(t *testing.T) {
	before := RestartPeak()
	if runtime.GOOS != "linux" {
		t.Skipf("Resident is %d here", before)
	}
	b := make([]byte, 64<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	if now := Resident() - before; now < 60<<20 {
		t.Errorf("%d bytes more in RAM, want 64 MiB", now)
	}
	if peak := Peak() - before; peak < 60<<20 {
		t.Errorf("peak is %d bytes higher, want 64 MiB", peak)
	}
	runtime.KeepAlive(b)
	if n := ProcessStatus("NoSuchKey:"); n != -1 {
		t.Errorf("a key that there is not has %d bytes", n)
	}
}

// TestProcessorTime works until the figure has grown.
func TestProcessorTime(t *testing.T) {
	r, before := Random(1), ProcessorTime()
	for deadline := time.Now().Add(2 * time.Minute); ProcessorTime() < before+10*time.Millisecond; {
		for range 100_000 {
			r.Next()
		}
		if time.Now().After(deadline) {
			t.Fatalf("two minutes of work took %v", ProcessorTime()-before)
		}
	}
}
