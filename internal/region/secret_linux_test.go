package region

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/race"
	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// child runs a test again in a process of its own, where the environment marks it as the child.
func child(t *testing.T, test, dir, limits string, env ...string) (out []byte, err error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", limits+`; exec "$0" -test.run="^$1$" -test.v`, os.Args[0], test)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err = cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) || strings.Contains(string(out), "Exec format error") {
		t.Skip("the test runs under an emulator and cannot start itself")
	}
	return out, err
}

// TestSecretBeyondTheLimit lets RLIMIT_MEMLOCK refuse the lock: Commit returns the error and changes nothing, or goes on
// with MaySwap.
func TestSecretBeyondTheLimit(t *testing.T) {
	const mark = "GUARD_TEST_LOCKED"
	page := PageSize()
	if os.Getenv(mark) == "" {
		secret(t, 1)
		for _, pages := range []int{0, 4} {
			out, err := child(t, "TestSecretBeyondTheLimit", "", fmt.Sprintf("ulimit -l %d", pages*page>>10), mark+"=1")
			if err != nil {
				t.Errorf("a limit of %d pages: %v\n%s", pages, err, out)
			} else if bytes.Contains(out, []byte("--- SKIP")) {
				t.Skipf("%s", out)
			}
		}
		return
	}
	// Root may lock more than the limit. Nobody may not.
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			t.Skipf("root has no limits, and cannot become somebody else here: %v", err)
		}
	}
	limit := int(vm.Probe().LockedMemory)
	strict, lax := secretOf(t, Config{Size: 8 * page, Secret: true}), secret(t, 8)
	if limit > 0 {
		if err := strict.Commit(0, limit); err != nil {
			t.Fatalf("within the limit: %v", err)
		}
		strict.Bytes()[0] = 1
	}
	before := Committed()
	err := strict.Commit(0, 8*page)
	if !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), fmt.Sprintf("RLIMIT_MEMLOCK is %d", limit)) {
		t.Fatalf("beyond the limit: %v", err)
	}
	if strict.Committed() != int64(limit) || Committed() != before || locked(t) != limit {
		t.Errorf("after the error %d and %d bytes are committed, %d locked; want %d", strict.Committed(), Committed(), locked(t), limit)
	}
	expect(t, "refused", touch(strict, limit), Decommitted, limit)
	stop := vm.Inject(vm.Munlock, 0, nil)
	err = lax.Commit(0, 8*page)
	if unlocked := stop(); err != nil || unlocked != 1 { // the kernel may have locked a part
		t.Fatalf("MaySwap: %v, %d calls of munlock", err, unlocked)
	}
	lax.Bytes()[8*page-1] = 1
	if len(lax.rec.locked) > 0 || locked(t) != limit {
		t.Errorf("MaySwap: the books have %v locked, the kernel %d bytes", lax.rec.locked, locked(t))
	}
	if limit == 0 {
		return
	}
	if strict.Bytes()[0] != 1 {
		t.Error("what was committed before is lost")
	}
	// There is room again, and a region that may be swapped out takes it.
	if err := errors.Join(strict.Close(), lax.Lock(0, page), lax.Decommit(0, 8*page), lax.Commit(0, page)); err != nil {
		t.Fatal(err)
	}
	if locked(t) != page {
		t.Errorf("MaySwap within the limit: %d bytes are locked", locked(t))
	}
}

// TestSecretIsNotInCores dumps a core of a process that dies: it contains nothing of a secret, and the bytes of an ordinary
// region.
func TestSecretIsNotInCores(t *testing.T) {
	const mark = "GUARD_TEST_CORE"
	if halves := os.Getenv(mark); halves != "" {
		dieWithSecret(t, halves)
	}
	if race.Enabled {
		t.Skip("the race detector's shadow would be in the core, too")
	}
	secret(t, 1)
	halves := make([]byte, 4*64)
	rand.Read(halves)
	dir := t.TempDir()
	out, err := child(t, "TestSecretIsNotInCores", dir, "ulimit -c unlimited", mark+"="+hex.EncodeToString(halves), "GOTRACEBACK=crash")
	if err == nil || !strings.Contains(string(out), "dies with a secret") {
		t.Skipf("no core can be made here: %v\n%s", err, out)
	}
	cores, _ := filepath.Glob(filepath.Join(dir, "*core*"))
	if len(cores) != 1 {
		pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
		t.Skipf("the system left %d cores (core_pattern is %q)", len(cores), pattern)
	}
	core, err := os.ReadFile(cores[0])
	if err != nil {
		t.Fatal(err)
	}
	hidden, control := make([]byte, 64), make([]byte, 64)
	mix(hidden, halves[:128])
	mix(control, halves[128:])
	if !bytes.Contains(core, control) {
		t.Fatalf("what an ordinary region held is not in the core of %d bytes", len(core))
	}
	for i := 0; i < len(hidden); i += 8 {
		if at := bytes.Index(core, hidden[i:i+8]); at >= 0 {
			t.Errorf("bytes %d to %d of the secret are in the core, at %d", i, i+8, at)
		}
	}
	t.Logf("a core of %d bytes", len(core))
}

// mix makes a secret of two halves, byte by byte: nothing else ever holds more than one of them.
func mix(to, halves []byte) {
	for i := range to {
		to[i] = halves[i] ^ halves[len(to)+i]
	}
}

func dieWithSecret(t *testing.T, text string) {
	halves, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	page := PageSize()
	hidden, plain := secret(t, 8), mustReserve(t, Config{Size: 8 * page})
	if err := errors.Join(hidden.Commit(0, 8*page), plain.Commit(0, 8*page)); err != nil {
		t.Fatal(err)
	}
	// Also beside what changes of protection split.
	if err := errors.Join(hidden.Guard(2*page, page), hidden.Decommit(4*page, page), hidden.Commit(4*page, page), hidden.Protect(6*page, page, vm.Read)); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{page, 4 * page, 7 * page} {
		mix(hidden.Bytes()[off:][:64], halves[:128])
		mix(plain.Bytes()[off:][:64], halves[128:])
	}
	fmt.Println("dies with a secret")
	go panic("a secret")
	select {}
}
