package messages

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/vm"
	"github.com/seed-9a6c551e/offheap/internal/vm/ipc"
)

// The test binary is a side, or a program that measures, if its first argument says so.
const (
	asSide    = "messages-side"
	asMeasure = "messages-measure"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asSide:
			if err := RunSide(os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case asMeasure:
			measureForTest()
		}
	}
	// The descriptors that the runtime opens once, and keeps: the poller's, and those of waiting for a process.
	if r, w, err := os.Pipe(); err == nil {
		_, _ = r.Close(), w.Close()
	}
	_ = exec.Command(os.Args[0], asSide).Run()
	os.Exit(m.Run())
}

// startTest starts this test binary as a side.
func startTest(files []*os.File) (*exec.Cmd, error) {
	cmd := exec.Command(os.Args[0], asSide)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // the race detector waits a second at the end of each
	return cmd, nil
}

// needsStart skips the test where the binary cannot start itself.
func needsStart(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("mechanisms need Linux")
	}
	if err := exec.Command(os.Args[0], asSide).Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func noProgress(string, int, int) {}

// kept returns what the kernel keeps beyond processes, of all of them, and how many descriptors this one has.
func kept(t *testing.T) (all []string, descriptors int) {
	t.Helper()
	for _, table := range []string{"/proc/sysvipc/msg", "/proc/sysvipc/shm"} {
		text, err := os.ReadFile(table)
		mustDo(t, err)
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 1 {
				all = append(all, table+" "+fields[1])
			}
		}
	}
	for _, pattern := range []string{"/dev/shm/offheap*", "/dev/mqueue/offheap*"} {
		names, err := filepath.Glob(pattern)
		mustDo(t, err)
		all = append(all, names...)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	mustDo(t, err)
	return all, len(fds)
}

// leavesNothing runs the test, and fails if the kernel keeps more after it than before. Processes that end by themselves get
// time, and so do tests of other packages.
func leavesNothing(t *testing.T, test func()) {
	t.Helper()
	before, open := kept(t)
	test()
	for range 1200 {
		after, stillOpen := kept(t)
		after = slices.DeleteFunc(after, func(x string) bool { return slices.Contains(before, x) })
		if len(after) == 0 && stillOpen <= open {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	after, stillOpen := kept(t)
	t.Errorf("there was %q and %d descriptors, and is %q and %d", before, open, after, stillOpen)
}

// TestMeasure measures all mechanisms, which checks every message.
func TestMeasure(t *testing.T) {
	needsStart(t)
	job := Job{Mechanisms: Mechanisms, Sizes: []int{64, 4096, 72 << 10}, Time: 2 * time.Millisecond}
	if testing.Short() {
		job.Sizes = []int{64}
	}
	leavesNothing(t, func() {
		steps := 0
		r, err := Measure(t.Context(), startTest, job, func(_ string, done, total int) { steps++ })
		mustDo(t, err)
		i := 0
		for _, bytes := range job.Sizes {
			for _, m := range Mechanisms {
				if slices.ContainsFunc(r.Features[m].NotPossible, func(x Refusal) bool { return x.Bytes == bytes }) {
					continue
				}
				for _, c := range cells {
					x := r.Results[i]
					i++
					if x.Mechanism != m || x.Bytes != bytes || x.Pattern != c.pattern || x.Touched != c.touched {
						t.Fatalf("figures of %+v in the place of %s, %d bytes, %v", x, m, bytes, c)
					}
					if x.MessagesPerSecond <= 0 || x.CPUSecondsPerGB < 0 || x.P50 <= 0 || x.P99 < x.P50 || x.GBPerSecond() <= 0 {
						t.Errorf("figures %+v", x)
					}
				}
			}
		}
		if i != len(r.Results) || steps < i {
			t.Errorf("%d results, of which %d were asked for; progress was shown %d times", len(r.Results), i, steps)
		}
	})
}

// TestRefused asks for sizes that the kernel refuses to whoever has no privileges.
func TestRefused(t *testing.T) {
	needsStart(t)
	leavesNothing(t, func() {
		for m, bytes := range map[Mechanism]int{SysVQueue: 64 << 20, POSIXQueue: 64 << 20, UnixSeqpacket: 64 << 20} {
			l, err := makeLink(m, bytes)
			if err == nil {
				t.Errorf("%s takes messages of %d bytes", m, bytes)
				mustDo(t, l.close(), l.remove())
			} else if !strings.Contains(err.Error(), "max is ") {
				t.Errorf("%s: %v", m, err)
			}
		}
	})
}

// TestFeatures finds what the mechanisms can do.
func TestFeatures(t *testing.T) {
	needsStart(t)
	leavesNothing(t, func() {
		for m, want := range map[Mechanism]Features{
			Ring:          {SharedByReaders: true, MessageBoundaries: true, FileBacked: true},
			RingShmget:    {SharedByReaders: true, MessageBoundaries: true, SurvivesProcess: true},
			RingTmpfs:     {SharedByReaders: true, MessageBoundaries: true, FileBacked: true, SurvivesProcess: true},
			Pipe:          {Copies: 2},
			Pipe1M:        {Copies: 2},
			PipeBufio:     {Copies: 4},
			UnixStream:    {Copies: 2},
			UnixSeqpacket: {Copies: 2, MessageBoundaries: true},
			SysVQueue:     {Copies: 2, MessageBoundaries: true, SurvivesProcess: true},
			POSIXQueue:    {Copies: 2, MessageBoundaries: true, SurvivesProcess: true},
		} {
			got, err := probe(t.Context(), startTest, m)
			mustDo(t, err)
			if fmt.Sprint(*got) != fmt.Sprint(want) {
				t.Errorf("%s: %+v, want %+v", m, *got, want)
			}
		}
	})
}

// TestCheck changes each byte of a message: check says so.
func TestCheck(t *testing.T) {
	for _, size := range []int{LeastBytes, LeastBytes + 8, LeastBytes + 16, LeastBytes + 24, 1024} {
		b := alignedBytes(size)
		fill(b, 1<<40)
		mustDo(t, check(b, 1<<40))
		if check(b, 1<<40+1) == nil {
			t.Error("another number was not noticed")
		}
		for i := range b {
			if i/8 == wordSent {
				continue
			}
			b[i] ^= 0x10
			if check(b, 1<<40) == nil {
				t.Errorf("%d bytes: a change of byte %d was not noticed", size, i)
			}
			b[i] ^= 0x10
		}
	}
}

// TestFailEveryCall has each system call fail: making a link and finding features leave nothing. A failed call of package ipc is an
// error; others may be tried in another way.
func TestFailEveryCall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("mechanisms need Linux")
	}
	failed := errors.New("failed on purpose")
	do := func(m Mechanism) error {
		l, err := makeLink(m, probeBytes)
		if err != nil {
			return err
		}
		err = errors.Join(new(Features).probeLink(l), l.close(), l.remove())
		return errors.Join(err, l.close(), l.remove()) // for the case that the first failed
	}
	for _, m := range Mechanisms {
		for kind := range vm.Kinds {
			if kind == vm.Mmap || kind == vm.Munmap {
				continue // closing makes these calls, too, and what is not closed stays
			}
			stop := vm.Inject(kind, 0, failed)
			mustDo(t, do(m))
			for n := range stop() {
				leavesNothing(t, func() {
					stop := vm.Inject(kind, n+1, failed)
					err := do(m)
					stop()
					if kind == vm.IPC && !errors.Is(err, failed) && m != POSIXQueue { // which tries again, with fewer messages
						t.Errorf("%s: call %d failed, and there is the error %v", m, n+1, err)
					}
				})
			}
		}
	}
}

// TestKilled kills a side during a round: the round ends, the error names the side, and nothing stays.
func TestKilled(t *testing.T) {
	needsStart(t)
	for _, m := range Mechanisms {
		for victim := range 2 {
			leavesNothing(t, func() {
				l, err := makeLink(m, 64)
				mustDo(t, err)
				p, err := Side(startTest).startPair(l, OneWay, true)
				mustDo(t, err)
				_, _, err = p.timed(100)
				mustDo(t, err)
				ended := make(chan error)
				go func() {
					_, err := p.do(round{math.MaxInt})
					ended <- err
				}()
				p.sides[victim].kill()
				if err := <-ended; err == nil || !strings.Contains(err.Error(), "the sender") && !strings.Contains(err.Error(), "the receiver") {
					t.Errorf("%s: %v", m, err)
				}
				if p.end() == nil {
					t.Errorf("%s: sides that were killed ended well", m)
				}
			})
		}
	}
}

// TestInterrupted ends measurements in whatever they do.
func TestInterrupted(t *testing.T) {
	needsStart(t)
	leavesNothing(t, func() {
		for _, m := range Mechanisms {
			ctx, cancel := context.WithCancel(t.Context())
			var once sync.Once
			job := Job{Mechanisms: []Mechanism{m}, Sizes: []int{64}, Time: time.Hour}
			started := 0
			_, err := Measure(ctx, func(files []*os.File) (*exec.Cmd, error) {
				if started++; started == 3 { // the first was to be killed, two measure
					once.Do(func() { time.AfterFunc(50*time.Millisecond, cancel) })
				}
				return startTest(files)
			}, job, noProgress)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", m, err)
			}
			cancel()
		}
	})
}

// measureForTest measures with a queue of the system, until it is interrupted.
func measureForTest() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	job := Job{Mechanisms: []Mechanism{SysVQueue}, Sizes: []int{64}, Time: time.Hour}
	started := 0
	_, err := Measure(ctx, func(files []*os.File) (*exec.Cmd, error) {
		if started++; started == 3 {
			fmt.Println("measuring")
		}
		return startTest(files)
	}, job, noProgress)
	fmt.Println(err)
	os.Exit(1)
}

// TestParentKilled kills, or interrupts, the process that measures: its sides end, and nothing stays.
func TestParentKilled(t *testing.T) {
	needsStart(t)
	for _, sig := range []os.Signal{os.Kill, os.Interrupt} {
		leavesNothing(t, func() {
			cmd := exec.Command(os.Args[0], asMeasure)
			out, err := cmd.StdoutPipe()
			mustDo(t, err)
			// All processes have the other end, and the last one closes it.
			all, err := cmd.StderrPipe()
			mustDo(t, err)
			mustDo(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "measuring\n" {
				t.Fatalf("%q, %v", line, err)
			}
			time.Sleep(50 * time.Millisecond)
			mustDo(t, cmd.Process.Signal(sig))
			if text, err := io.ReadAll(all); err != nil || len(text) > 0 {
				t.Errorf("%v: stderr %q, %v", sig, text, err)
			}
			if cmd.Wait() == nil {
				t.Errorf("%v: the program ended well", sig)
			}
		})
	}
}

// TestNobodyListens has sides answer where nobody reads: they end, and remove what would outlive them.
func TestNobodyListens(t *testing.T) {
	needsStart(t)
	for _, m := range Mechanisms {
		leavesNothing(t, func() {
			l, err := makeLink(m, 64)
			mustDo(t, err)
			p, err := Side(startTest).startPair(l, OneWay, true)
			mustDo(t, err)
			for _, s := range p.sides {
				mustDo(t, s.out.Close())
			}
			for _, s := range p.sides {
				mustDo(t, s.enc.Encode(round{16}))
			}
			for _, s := range p.sides {
				mustDo(t, s.end())
			}
		})
	}
	leavesNothing(t, func() {
		p, err := Side(startTest).startProcess("it", task{Orphan: SysVQueue}, nil)
		mustDo(t, err, p.out.Close(), p.end())
	})
}

// TestOrphanEnds ends the input of a process that waits to be killed.
func TestOrphanEnds(t *testing.T) {
	needsStart(t)
	leavesNothing(t, func() {
		p, err := Side(startTest).startProcess("it", task{Orphan: SysVQueue}, nil)
		mustDo(t, err)
		var left orphan
		mustDo(t, p.dec.Decode(&left))
		if left.Error != "" || len(left.End.Numbers) != 2 {
			t.Errorf("%+v", left)
		}
		mustDo(t, p.end())
	})
}

// TestSideWithoutTask reads what is no task.
func TestSideWithoutTask(t *testing.T) {
	if err := RunSide(strings.NewReader("nonsense"), io.Discard); err == nil {
		t.Error("no error")
	}
	var in bytes.Buffer
	mustDo(t, gob.NewEncoder(&in).Encode(task{End: end{Mechanism: SysVQueue, Bytes: 64, Numbers: []int{-1, -1}}}))
	if err := RunSide(&in, io.Discard); err != nil {
		t.Error(err) // its input has ended: nothing is to be done
	}
}

// TestUnsupported has the calls of other systems fail with a clear error.
func TestUnsupported(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("Linux has all mechanisms")
	}
	if _, err := makeLink(SysVQueue, 64); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := ipc.CreateSegment(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
