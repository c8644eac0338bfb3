package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/shm"
)

// childEnv names what a child of a test does, and the descriptors that it gets.
const childEnv = "RING_TEST_CHILD"

// children are what the children of tests do, by name.
var children = map[string]func(rings []*Ring) error{
	"echo":  echo,
	"large": large,
}

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" {
		if _, err := Create(Config{}); !errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("a ring on another system:", err)
			os.Exit(1)
		}
		return
	}
	if what := os.Getenv(childEnv); what != "" {
		if err := child(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(what string) error {
	name, rest, _ := strings.Cut(what, ",")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return err
	}
	var rings []*Ring
	for i := range n {
		m, err := shm.Inherited(3+i, shm.ReceiveConfig{})
		if err != nil {
			return err
		}
		r, err := Attach(m)
		if err != nil {
			return err
		}
		rings = append(rings, r)
	}
	return children[name](rings)
}

// start starts a child that has the rings.
func start(t testing.TB, name string, rings ...*Ring) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d", childEnv, name, len(rings)))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, r := range rings {
		cmd.ExtraFiles, _ = r.Memory().AppendFile(cmd.ExtraFiles)
	}
	if err := cmd.Start(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the test runs under an emulator and cannot start itself")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

// echo sends what comes by the first ring back by the second, until its end.
func echo(rings []*Ring) error {
	c, err := rings[0].Consumer()
	if err != nil {
		return err
	}
	p, err := rings[1].Producer()
	if err != nil {
		return err
	}
	ctx := context.Background()
	var b []byte
	for {
		switch b, err = c.Recv(ctx, b[:0]); err {
		case nil:
		case io.EOF:
			return errors.Join(rings[0].Close(), rings[1].Close())
		default:
			return err
		}
		if err := errors.Join(p.Send(ctx, b), p.Flush()); err != nil {
			return err
		}
	}
}

// large is echo in a process of 512 MiB.
func large(rings []*Ring) error {
	touched := make([]byte, 512<<20)
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = 1
	}
	defer runtime.KeepAlive(touched)
	return echo(rings)
}

// pair makes two rings and a child, and returns this process's sides.
func pair(t testing.TB, what string) (*Producer, *Consumer, *exec.Cmd) {
	t.Helper()
	var rings [2]*Ring
	for i := range rings {
		r, err := Create(Config{})
		mustDo(t, err)
		rings[i] = r
		t.Cleanup(func() { r.Close() })
	}
	p, err := rings[0].Producer()
	mustDo(t, err)
	c, err := rings[1].Consumer()
	mustDo(t, err)
	return p, c, start(t, what, rings[0], rings[1])
}

// TestProcesses sends messages to another process and back.
func TestProcesses(t *testing.T) {
	p, c, cmd := pair(t, "echo")
	ctx := soon(t)
	for i := range 3000 {
		want := fmt.Sprint("message ", i)
		mustDo(t, p.Send(ctx, []byte(want)), p.Flush())
		got, err := c.Recv(ctx, nil)
		mustDo(t, err)
		if string(got) != want {
			t.Fatalf("%q came back as %q", want, got)
		}
	}
	mustDo(t, p.Close())
	if _, err := c.Recv(ctx, nil); err != io.EOF {
		t.Fatal(err)
	}
	mustDo(t, cmd.Wait())
}

// TestKilled kills the other process while this one waits for it.
func TestKilled(t *testing.T) {
	p, c, cmd := pair(t, "echo")
	ctx := soon(t)
	mustDo(t, p.Send(ctx, []byte("hello")), p.Flush())
	if _, err := c.Recv(ctx, nil); err != nil {
		t.Fatal(err)
	}
	mustDo(t, cmd.Process.Kill())
	if _, err := c.Recv(ctx, nil); !errors.Is(err, ErrPeerDied) {
		t.Fatal(err)
	}
	var err error
	for err == nil { // the kernel ends one thread after the other
		err = errors.Join(ctx.Err(), p.Flush())
	}
	if !errors.Is(err, ErrPeerDied) {
		t.Fatal(err)
	}
}
