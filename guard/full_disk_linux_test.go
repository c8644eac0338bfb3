package guard

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// smallDisk mounts a file system of so many bytes, or skips the test.
func smallDisk(t *testing.T, size string) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a full disk is not to be had here: mounting a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// smallExt4 mounts an ext4 of so many bytes, which is a file itself, or skips the test.
func smallExt4(t *testing.T, size int64) string {
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	mustDo(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, size))
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-O", "^has_journal", image}, {"mount", "-t", "ext4", "-o", "loop", image, dir}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("a full ext4 is not to be had here: %v: %v\n%s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill makes a file that takes all space of its disk.
func fill(t *testing.T, name string) {
	f, err := os.Create(name)
	mustDo(t, err)
	defer f.Close()
	for _, step := range []int{64 << 10, 4 << 10, 1 << 10} {
		b := make([]byte, step)
		for written := 0; ; written += step { // what a disk promises may be less than what it has
			_, err := f.Write(b)
			if err == nil {
				err = f.Sync()
			}
			if errors.Is(err, syscall.ENOSPC) {
				break
			}
			mustDo(t, err)
			if written > 8<<20 {
				t.Fatal("the disk does not get full")
			}
		}
	}
}

// TestFullDisk fills a disk: Grow and File have errors, direct stores are faults inside Catch, and the file is as long as
// before. When there is space again, all works.
func TestFullDisk(t *testing.T) {
	if !vm.Probe().Populate {
		t.Skip("an old kernel, or an emulator that gets the addresses of such faults wrong")
	}
	t.Run("tmpfs", func(t *testing.T) { fullDisk(t, smallDisk(t, "1m"), true) })
	t.Run("ext4", func(t *testing.T) { fullDisk(t, smallExt4(t, 2<<20), false) })
}

// fullDisk fills the disk of a folder, which has less than 2 MiB. inRAM says that holes need space when they are read.
func fullDisk(t *testing.T, dir string, inRAM bool) {
	page := PageSize()
	blocks := func(f *os.File) int64 { // of 512 bytes
		info, err := f.Stat()
		mustDo(t, err)
		return info.Sys().(*syscall.Stat_t).Blocks
	}
	f, err := os.Create(filepath.Join(dir, "grows"))
	mustDo(t, err)
	defer f.Close()
	r := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: 8 << 20})
	_, err = r.Grow(4 * page)
	mustDo(t, err)
	r.Bytes()[0] = 'a'
	had := blocks(f)
	if _, err := r.Grow(2 << 20); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("more than the disk: %v", err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != int64(4*page) || r.Size() != 4*page || r.Bytes()[0] != 'a' {
		t.Fatalf("the file has %d bytes, the region %d", info.Size(), r.Size())
	}
	if now := blocks(f); now != had {
		t.Errorf("the file keeps %d blocks, before %d", now, had)
	}

	// A hole, for which there is no space once another file has taken it.
	hole, err := os.Create(filepath.Join(dir, "hole"))
	mustDo(t, err)
	defer hole.Close()
	mustDo(t, hole.Truncate(int64(4*page)))
	h := mustMap(t, hole, FileConfig{Mode: FileShared})
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	expect(t, "store on a full disk", poke(h, page), FileFailed, page)
	if inRAM {
		expect(t, "read of a hole on a full tmpfs", touch(h, 2*page), FileFailed, 2*page)
		if n, err := h.File().ReadAt(make([]byte, page), int64(2*page)); n != 0 || err == nil {
			t.Errorf("read %d bytes of a hole on a full tmpfs: %v", n, err)
		}
	} else if f := touch(h, 2*page); f != nil {
		t.Errorf("a hole needs space to be read: %v", f)
	}
	n, err := h.File().WriteAt(bytes.Repeat([]byte{1}, 2*page), 5)
	var fault *Fault
	if n != 0 || !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &fault) || fault.Kind != FileFailed {
		t.Errorf("wrote %d bytes to a full disk: %v", n, err)
	}
	if n, err := r.File().WriteAt([]byte("inside"), 0); n != 6 || err != nil {
		t.Errorf("a write where there is space: %v", err)
	}
	if _, err := r.File().WriteAt([]byte("beyond"), int64(5*page)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write that grows: %v", err)
	}

	mustDo(t, os.Remove(filler))
	if n, err := h.File().WriteAt(bytes.Repeat([]byte{1}, 2*page), 5); n != 2*page || err != nil {
		t.Errorf("with space again: %d bytes, %v", n, err)
	}
	if n, err := r.File().WriteAt([]byte("beyond"), int64(5*page)); n != 6 || err != nil {
		t.Errorf("with space again: %v", err)
	}
}
