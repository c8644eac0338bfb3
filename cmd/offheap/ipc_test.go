package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/cmd/offheap/internal/messages"
)

// needsIPC skips the test where there are no mechanisms, or the binary cannot start itself.
func needsIPC(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("mechanisms need Linux")
	}
	if err := exec.Command(os.Args[0], ipcSideCommand).Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector waits a second at the end of each process
}

// TestIPCJSON measures all mechanisms for a moment.
func TestIPCJSON(t *testing.T) {
	needsIPC(t)
	status, stdout, stderr := runs(strings.Fields("ipc -json -sizes 64,64KiB -seconds 0.001")...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(got); !slices.Equal(keys, words("results features")) {
		t.Errorf("the object has %v", keys)
	}
	features, _ := got["features"].(map[string]any)
	if len(features) != len(messages.Mechanisms) {
		t.Errorf("features of %v", keysOf(features))
	}
	refused := map[string]bool{} // at 64 KiB
	for _, m := range messages.Mechanisms {
		f, _ := features[string(m)].(map[string]any)
		want := words("copies shared_by_readers message_boundaries file_backed survives_process")
		if no, _ := f["not_possible"].([]any); no != nil {
			want = words(strings.Join(want, " ") + " not_possible")
			refused[string(m)] = true
			if len(no) != 1 || !slices.Equal(keysOf(no[0]), words("bytes why")) {
				t.Errorf("%s: not possible is %v", m, no)
			}
		}
		if keys := keysOf(f); !slices.Equal(keys, want) {
			t.Errorf("%s has the features %v, want %v", m, keys, want)
		}
	}
	count := map[string]int{}
	results, _ := got["results"].([]any)
	for _, r := range results {
		if keys := keysOf(r); !slices.Equal(keys, words("mechanism pattern bytes touched messages_per_second cpu_seconds_per_gb p50_ns p99_ns")) {
			t.Fatalf("a result has %v", keys)
		}
		x := r.(map[string]any)
		name, _ := x["mechanism"].(string)
		count[name]++
		if x["pattern"] != "oneway" && x["pattern"] != "pingpong" || x["messages_per_second"].(float64) <= 0 || x["bytes"] != 64. && x["bytes"] != 65536. {
			t.Errorf("a result is %v", x)
		}
	}
	for _, m := range messages.Mechanisms {
		want := 6
		if refused[string(m)] {
			want = 3
		}
		if count[string(m)] != want {
			t.Errorf("%s has %d results, want %d", m, count[string(m)], want)
		}
	}
}

// TestIPCTables measures all mechanisms for a moment, and shows each in all tables.
func TestIPCTables(t *testing.T) {
	needsIPC(t)
	status, stdout, stderr := runs(strings.Fields("ipc -sizes 4KiB,1MiB -seconds 0.001")...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"4.0 KiB  ", "1.0 MiB  ", "one way", "handed over", "ping-pong", "survives its process", "not possible", "Not possible: sysv_msg, 1.0 MiB: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, m := range messages.Mechanisms {
		if n := strings.Count(stdout, "\n"+string(m)+" ") + strings.Count(stdout, " "+string(m)+" "); n != 3 {
			t.Errorf("%s stands in %d tables", m, n)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
}

// TestIPCInterrupted interrupts the command: it prints the features that it found, and says so.
func TestIPCInterrupted(t *testing.T) {
	needsIPC(t)
	for _, asJSON := range []bool{true, false} {
		var stdout, stderr bytes.Buffer
		f := newFlags("ipc", "", &stdout, &stderr)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		job := messages.Job{Mechanisms: messages.Mechanisms, Sizes: []int{64}, Time: time.Hour}
		status := f.measureMessages(ctx, job, asJSON)
		if status != 1 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("status %d, stderr %q", status, stderr.String())
		}
		if asJSON {
			var got map[string]any
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got["error"] != "interrupted" || got["results"] == nil {
				t.Errorf("%v: printed %s", err, stdout.String())
			}
		}
	}
}

// TestIPCInPart prints what was measured before an error, and no more.
func TestIPCInPart(t *testing.T) {
	job := messages.Job{Mechanisms: messages.Mechanisms, Sizes: []int{64, 4096}}
	r := &messages.Report{
		Results:  []messages.Result{{Mechanism: messages.Pipe, Pattern: messages.OneWay, Bytes: 64, Touched: true, MessagesPerSecond: 1e6, CPUSecondsPerGB: 2, P50: 1000, P99: 2000}},
		Features: map[messages.Mechanism]*messages.Features{messages.Pipe: {Copies: 2}, messages.SysVQueue: {Unknown: "function not implemented"}},
	}
	var out strings.Builder
	if err := printMessages(&out, job, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 M/s", "0.064", "1 µs", "2 µs", "Not possible: sysv_msg: function not implemented"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "4.0 KiB") || strings.Contains(out.String(), "posix") {
		t.Errorf("there is more than was measured:\n%s", out.String())
	}
}
