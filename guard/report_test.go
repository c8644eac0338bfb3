package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// hasReports tells whether ReportFaults works here.
const hasReports = runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64")

// last is one touch of a byte; it ends the program.
type last struct {
	at    unsafe.Pointer
	write bool
}

func (l last) touch() {
	if l.write {
		*(*byte)(l.at) = 1
	} else {
		sink = *(*byte)(l.at)
	}
}

// regionTouches are touches of inaccessible memory of regions, of every kind.
var regionTouches = map[string]func(t *testing.T, r *Region) last{
	"underflow": func(_ *testing.T, r *Region) last { return last{at: unsafe.Add(r.Base(), -1)} },
	"overflow":  func(_ *testing.T, r *Region) last { return last{at: unsafe.Add(r.Base(), r.Size()+5000), write: true} },
	"decommitted": func(t *testing.T, r *Region) last {
		mustDo(t, r.Decommit(0, PageSize()))
		return last{at: r.Base()}
	},
	"never committed": func(_ *testing.T, r *Region) last { return last{at: unsafe.Add(r.Base(), r.Size()-1), write: true} },
	"guard": func(t *testing.T, r *Region) last {
		mustDo(t, r.Guard(PageSize(), PageSize()))
		return last{at: unsafe.Add(r.Base(), PageSize()+7), write: true}
	},
	"guard over uncommitted memory": func(t *testing.T, r *Region) last {
		mustDo(t, r.Guard(4*PageSize(), PageSize()))
		return last{at: unsafe.Add(r.Base(), 4*PageSize())}
	},
	"read only": func(t *testing.T, r *Region) last {
		mustDo(t, r.Protect(PageSize(), PageSize(), Read))
		return last{at: unsafe.Add(r.Base(), 2*PageSize()-1), write: true}
	},
	"no access": func(t *testing.T, r *Region) last {
		mustDo(t, r.Protect(0, PageSize(), None))
		return last{at: r.Base()}
	},
	"closed": func(t *testing.T, r *Region) last {
		mustDo(t, r.Close())
		return last{at: unsafe.Add(r.Base(), 3)}
	},
	"below a closed region": func(t *testing.T, r *Region) last {
		mustDo(t, r.Close())
		return last{at: unsafe.Add(r.Base(), -3), write: true}
	},
	"beyond a closed region": func(t *testing.T, r *Region) last {
		mustDo(t, r.Commit(0, r.Size()), r.Close())
		return last{at: unsafe.Add(r.Base(), r.Size()), write: true}
	},
	"short file":         func(t *testing.T, _ *Region) last { return last{at: mapShort(t, FileRead)} },
	"short private file": func(t *testing.T, _ *Region) last { return last{at: mapShort(t, FilePrivate)} },
	"short file that may be written to": func(t *testing.T, _ *Region) last {
		return last{at: mapShort(t, FileShared), write: true}
	},
	"read-only file": func(t *testing.T, _ *Region) last {
		return last{at: unsafe.Add(mapShort(t, FileRead), -1), write: true}
	},
}

// mapShort maps a file that becomes shorter then, and returns the address behind its last byte.
func mapShort(t *testing.T, mode FileMode) unsafe.Pointer {
	f, err := os.Create(t.TempDir() + "/short")
	if err != nil {
		t.Fatal(err)
	}
	mustDo(t, f.Truncate(int64(3*PageSize())))
	r, err := MapFile(f, FileConfig{Offset: 100, Mode: mode})
	mustDo(t, err, f.Truncate(int64(PageSize())), f.Close())
	runtime.KeepAlive(r)
	return unsafe.Add(r.Base(), PageSize()-100)
}

// otherEnds are ends of a program that are no touch of a region, or one that must not be reported, with the message
// that Go has for them.
var otherEnds = map[string]struct {
	end  func(t *testing.T, r *Region)
	want string
}{
	"nil pointer": {func(*testing.T, *Region) { *nilPointer = 1 }, "panic: runtime error: invalid memory address or nil pointer dereference"},
	"memory of others": {func(t *testing.T, _ *Region) {
		p, err := vm.Reserve(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		last{at: unsafe.Add(p, 1<<19)}.touch()
	}, "unexpected fault address 0x"},
	"released region": {func(t *testing.T, r *Region) {
		if _, err := SetQuarantine(0); err != nil {
			t.Fatal(err)
		}
		mustDo(t, r.Close())
		last{at: r.Base()}.touch()
	}, "unexpected fault address 0x"},
	"goroutine that panics on faults": {func(_ *testing.T, r *Region) {
		debug.SetPanicOnFault(true)
		last{at: unsafe.Add(r.Base(), -1)}.touch()
	}, "panic: runtime error: invalid memory address or nil pointer dereference"},
	"signal of a process": {func(*testing.T, *Region) {
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		for n := 0; ; n++ { // the scheduler rests: Go's message would wait for a lock of it that the signal interrupts
		}
	}, "SIGSEGV: segmentation violation"},
}

// TestReportFaults ends programs by faults of every kind. With ReportFaults the text of the error is written first, and
// Go's message follows. Without, and for faults of others, there is Go's message alone.
func TestReportFaults(t *testing.T) {
	const mark, name = "GUARD_TEST_REPORT", "the \"first\"\n"
	if what, how, asked := strings.Cut(os.Getenv(mark), "/"); asked {
		report := func() {
			if err := errors.Join(ReportFaults(), ReportFaults()); err != nil {
				t.Fatal(err)
			}
		}
		if how == "before" {
			report()
		}
		before := mustReserve(t, Config{Size: 1})
		r := mustReserve(t, Config{Name: name, Size: 8 * PageSize()})
		mustDo(t, r.Commit(0, 4*PageSize()), before.Close())
		mustReserve(t, Config{Size: 1})
		if other, ok := otherEnds[what]; ok {
			report()
			other.end(t, r)
			return
		}
		l := regionTouches[what](t, r)
		switch how {
		case "after":
			report()
		case "notified":
			signal.Notify(make(chan os.Signal, 1), syscall.SIGSEGV, syscall.SIGBUS)
			report()
			signal.Notify(make(chan os.Signal, 1), syscall.SIGSEGV, syscall.SIGBUS)
		}
		err := Catch(l.touch) // is not reported
		if err == nil {
			t.Fatal("no fault")
		}
		os.Stdout.WriteString(err.Error())
		done := make(chan bool)
		go func() {
			defer close(done)
			l.touch()
		}()
		<-done
		return
	}
	if !hasReports {
		t.Skip("nothing is reported here: there is no handler")
	}
	dies := func(what string) (stdout, stderr string) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestReportFaults$")
		cmd.Env = append(os.Environ(), mark+"="+what)
		var out, say bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &say
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("the test runs under an emulator and cannot start itself")
		}
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s: ended with %v, want exit status 2", what, err)
		}
		return out.String(), say.String()
	}
	for what := range regionTouches {
		for _, how := range []string{"before", "after", "notified", "never"} {
			fault, said := dies(what + "/" + how)
			_, addr, _ := strings.Cut(fault, ": address ")
			addr, _, _ = strings.Cut(addr, ",")
			want := fmt.Sprintf("%s\nunexpected fault address %s\nfatal error: fault\n", fault, addr)
			if how == "never" {
				_, want, _ = strings.Cut(want, "\n")
			}
			if !strings.HasPrefix(fault, "guard: ") || !strings.HasPrefix(said, want) {
				said, _, _ = strings.Cut(said, "\n\n")
				t.Errorf("%s, %s: want\n%s\ngot\n%s", what, how, want, said)
			}
		}
	}
	for what, c := range otherEnds {
		if _, said := dies(what + "/"); !strings.HasPrefix(said, c.want) || strings.Contains(said, "guard: ") {
			said, _, _ = strings.Cut(said, "\n\n")
			t.Errorf("%s: want\n%s\ngot\n%s", what, c.want, said)
		}
	}
}

// TestReportFaultsFails has the kernel refuse the handler, and says so where there is none.
func TestReportFaultsFails(t *testing.T) {
	if !hasReports {
		if err := ReportFaults(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want %v", err, errors.ErrUnsupported)
		}
		return
	}
	const mark = "GUARD_TEST_REFUSED"
	if os.Getenv(mark) == "" { // what is installed stays
		cmd := exec.Command(os.Args[0], "-test.run=^TestReportFaultsFails$")
		cmd.Env = append(os.Environ(), mark+"=1")
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("the test runs under an emulator and cannot start itself")
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	stop := vm.Inject(vm.Sigaction, 1, vm.OutOfMemory)
	err := ReportFaults()
	stop()
	if !errors.Is(err, vm.OutOfMemory) || !strings.HasPrefix(err.Error(), "guard: report faults: ") {
		t.Errorf("refused with %v", err)
	}
	r := mustReserve(t, Config{Size: 1})
	expect(t, "after the refusal", touch(r, 0), Decommitted, 0)
	if err := ReportFaults(); err != nil {
		t.Error(err)
	}
	expect(t, "after another try", touch(r, 0), Decommitted, 0)
}
