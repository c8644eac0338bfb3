package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// letters makes a file of n bytes, each of which tells its place.
func letters(t testing.TB, n int) *os.File {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = letter(i)
	}
	name := filepath.Join(t.TempDir(), "letters")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func letter(i int) byte { return byte(i>>8 ^ i*7) }

func mustMap(t testing.TB, f *os.File, c FileConfig) *Region {
	t.Helper()
	r, err := MapFile(f, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// descriptors returns how many descriptors the process has; 0 where the system does not tell.
func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

var fileModes = map[string]FileMode{"read": FileRead, "shared": FileShared, "private": FilePrivate}

// TestMapFileRanges maps files at any offset and length: the region has these bytes and no others, with guards outside.
func TestMapFileRanges(t *testing.T) {
	page := PageSize()
	size := 3*page + 17
	f := letters(t, size)
	before := Usage()
	for name, mode := range fileModes {
		for _, c := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {1, 1}, {page - 1, 2}, {page, page}, {page + 1, page - 1}, {size - 1, 0}, {2*page + 5, page}, {17, 3 * page}, {size, 0}} {
			off, n := c[0], c[1]
			r := mustMap(t, f, FileConfig{Offset: int64(off), Length: int64(n), Mode: mode, Populate: n%2 == 0})
			if n == 0 {
				n = size - off
			}
			if r.Size() != n || len(r.Bytes()) != n || r.Name() != "letters" {
				t.Fatalf("%s, %v: %q has %d bytes", name, c, r.Name(), r.Size())
			}
			for i, b := range r.Bytes() {
				if b != letter(off+i) {
					t.Fatalf("%s, %v: byte %d is %#x", name, c, i, b)
				}
			}
			// The guards are at borders of OS pages.
			end := (off%page+n+page-1)/page*page - off%page
			if n == 0 {
				end = -off % page
			}
			expect(t, "below", touch(r, -off%page-1), Underflow, -off%page-1)
			expect(t, "beyond", touch(r, end), Overflow, end)
			mustDo(t, r.Close())
			if n > 0 {
				expect(t, "closed", touch(r, n-1), UseAfterClose, n-1)
			}
		}
	}
	after := Usage()
	if before.Regions != after.Regions || before.Committed != after.Committed {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestMapFileModes stores to each kind of mapping, and looks where the bytes are.
func TestMapFileModes(t *testing.T) {
	page := PageSize()
	f := letters(t, 2*page)
	inFile := func(i int) byte {
		var b [1]byte
		_, err := f.ReadAt(b[:], int64(i))
		mustDo(t, err)
		return b[0]
	}
	charged := Committed()
	reads, shared, private := mustMap(t, f, FileConfig{Offset: 10}), mustMap(t, f, FileConfig{Offset: 10, Mode: FileShared}), mustMap(t, f, FileConfig{Offset: 10, Mode: FilePrivate})
	if got := Committed() - charged; got != int64(2*page) || private.Committed() != got || shared.Committed() != 0 {
		t.Errorf("%d bytes are charged, want those of the private mapping, %d", got, 2*page)
	}
	expect(t, "store to a file for reading", poke(reads, 5), ReadOnly, 5)
	private.Bytes()[5] = 'P'
	if inFile(15) != letter(15) || reads.Bytes()[5] != letter(15) {
		t.Error("a private store reached the file")
	}
	shared.Bytes()[5] = 'S'
	if inFile(15) != 'S' || reads.Bytes()[5] != 'S' || private.Bytes()[5] != 'P' {
		t.Error("a shared store is not where it should be")
	}
	mustDo(t, shared.Sync(0, shared.Size(), true), shared.Sync(5, 1, false), shared.Sync(7, 0, true))
	if err := private.Sync(0, 1, true); err == nil {
		t.Error("Sync of a private mapping")
	}
	if err := reads.Sync(0, 1, true); err != nil {
		t.Error(err)
	}

	// Others may be closed, renamed and removed.
	mustDo(t, f.Close(), os.Remove(f.Name()))
	if reads.Bytes()[5] != 'S' || shared.Bytes()[page] != letter(page+10) {
		t.Error("the mapping went with the file's name")
	}
	for _, r := range []*Region{reads, shared, private} {
		mustDo(t, r.Prefetch(1, 2), r.Lock(3, 10), r.Unlock(3, 10))
		for _, a := range []Advice{Sequential, Random, Normal, WillNeed, DontNeed} {
			if err := r.Advise(1, page, a); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("advice %d: %v", a, err)
			}
		}
		if n, err := r.Resident(); err == nil && n%int64(page) != 0 {
			t.Errorf("%d resident", n)
		}
		for what, err := range map[string]error{
			"Commit": r.Commit(0, page), "Decommit": r.Decommit(0, page), "Discard": r.Discard(0, page), "Guard": r.Guard(0, page),
			"Unguard": r.Unguard(0, page), "Move": r.Move(reads, page), "lock outside": r.Lock(0, r.Size()+1), "negative": r.Prefetch(-1, 1),
			"Protect of half an OS page": r.Protect(0, page, Read), "Protect from the middle": r.Protect(1, r.Size()-1, Read),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
	}
	if private.Bytes()[5] != 'P' {
		t.Error("advice lost a private store")
	}
	mustDo(t, shared.Protect(0, page-10, Read))
	expect(t, "protected", poke(shared, 5), ReadOnly, 5)
	mustDo(t, shared.Protect(0, page-10, None))
	expect(t, "no access", touch(shared, 5), Protected, 5)
	mustDo(t, shared.Protect(0, shared.Size(), ReadWrite))
	if f := poke(shared, 5); f != nil {
		t.Error(f)
	}
	if err := reads.Protect(0, reads.Size(), ReadWrite); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file that is mapped for reading becomes writable: %v", err)
	}
	mustDo(t, reads.Close(), shared.Close(), private.Close())
	for what, err := range map[string]error{"Sync": shared.Sync(0, 1, true), "Prefetch": shared.Prefetch(0, 1), "Lock": shared.Lock(0, 1), "Advise": shared.Advise(0, 1, Random)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if Committed() != charged {
		t.Errorf("%d bytes stay charged", Committed()-charged)
	}
}

// TestMapFileGrow makes files longer through their mapping.
func TestMapFileGrow(t *testing.T) {
	page := PageSize()
	for _, offset := range []int{0, 7, page + 3} {
		f := letters(t, page+10)
		length := func() int {
			info, err := f.Stat()
			mustDo(t, err)
			return int(info.Size())
		}
		r := mustMap(t, f, FileConfig{Offset: int64(offset), Mode: FileShared, Reserve: int64(8 * page)})
		base, size := r.Base(), r.Size()
		for _, n := range []int{0, 1, page - 1, page, 2*page + 5, 1} {
			b, err := r.Grow(n)
			mustDo(t, err)
			if size += n; len(b) != size || r.Size() != size || r.Base() != base || length() != offset+size {
				t.Fatalf("offset %d, by %d: %d bytes, the file has %d", offset, n, len(b), length())
			}
			if n > 0 {
				if b[size-n] != 0 || b[size-1] != 0 {
					t.Fatal("new bytes are not zero")
				}
				b[size-n], b[size-1] = 'n', 'N'
			}
		}
		if _, err := r.Grow(8 * page); !errors.Is(err, ErrNoMemory) || length() != offset+size {
			t.Fatalf("beyond the reservation: %v, the file has %d bytes", err, length())
		}
		content, err := os.ReadFile(f.Name())
		mustDo(t, err)
		if !bytes.Equal(content[offset:], r.Bytes()) || r.Committed() != 0 {
			t.Fatal("the file differs from its mapping")
		}

		// Others make the file longer: a mapping for reading follows.
		tail := mustMap(t, f, FileConfig{Offset: int64(offset + size), Reserve: int64(page)})
		if _, err := tail.Grow(3); !errors.Is(err, io.ErrUnexpectedEOF) || tail.Size() != 0 {
			t.Fatalf("beyond the end of the file: %v", err)
		}
		_, err = f.WriteAt([]byte("new"), int64(offset+size))
		mustDo(t, err)
		b, err := tail.Grow(3)
		mustDo(t, err)
		if string(b) != "new" {
			t.Fatalf("the tail is %q", b)
		}
		private := mustMap(t, f, FileConfig{Offset: int64(offset), Length: 5, Mode: FilePrivate, Reserve: int64(4 * page)})
		private.Bytes()[0] = 'P'
		was := Committed()
		b, err = private.Grow(2 * page)
		mustDo(t, err)
		if more := Committed() - was; b[0] != 'P' || !bytes.Equal(b[1:], r.Bytes()[1:5+2*page]) || more != private.Committed()-int64(page) || more < int64(page) {
			t.Fatalf("private growth, %d bytes charged", more)
		}
		mustDo(t, r.Close(), tail.Close(), private.Close())
		if _, err := r.Grow(1); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if length() != offset+size+3 {
			t.Errorf("Grow after Close made the file longer: %d", length())
		}
	}
}

// TestMapFileGrowsInPlace grows a file in many small steps: the kernel joins what is mapped.
func TestMapFileGrowsInPlace(t *testing.T) {
	f := letters(t, 0)
	r := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: 16 << 20})
	var before int
	for i := range 1000 {
		b, err := r.Grow(PageSize() / 2)
		mustDo(t, err)
		b[len(b)-1] = byte(i)
		if i == 0 {
			before = Usage().Mappings
		}
	}
	if more := Usage().Mappings - before; more > 0 {
		t.Errorf("%d mappings more", more)
	}
}

// TestTruncatedFile makes a mapped file shorter: the touch faults, and File has an error and the bytes before.
func TestTruncatedFile(t *testing.T) {
	if runtime.GOOS == "linux" && !vm.Probe().Populate {
		t.Skip("an old kernel, or an emulator that gets the addresses of such faults wrong")
	}
	page := PageSize()
	for name, mode := range fileModes {
		f := letters(t, 3*page)
		r := mustMap(t, f, FileConfig{Offset: 1, Mode: mode})
		mustDo(t, f.Truncate(int64(page)+5))
		expect(t, name, touch(r, 2*page), Truncated, 2*page)
		if mode != FileRead {
			expect(t, name, poke(r, 2*page+1), Truncated, 2*page+1)
		}
		if b := r.Bytes(); b[page+3] != letter(page+4) || b[page+4] != 0 {
			t.Error("the rest of the last OS page is not zero")
		}
		b := make([]byte, 3*page)
		n, err := r.File().ReadAt(b, 3)
		var fault *Fault
		if !errors.As(err, &fault) || fault.Kind != Truncated || n != 2*page-4 || !bytes.Equal(b[:page+1], r.Bytes()[3:page+4]) {
			t.Errorf("%s: read %d bytes: %v", name, n, err)
		}
		if mode != FileRead {
			if n, err := r.File().WriteAt(b[:page+10], int64(page)); !errors.As(err, &fault) || fault.Kind != Truncated || n != page-1 {
				t.Errorf("%s: wrote %d bytes: %v", name, n, err)
			}
		}
		if err := r.Prefetch(0, r.Size()); err == nil {
			t.Errorf("%s: Prefetch beyond the end of the file", name)
		}
		if err := r.Prefetch(0, page); err != nil {
			t.Error(err)
		}
		mustDo(t, f.Truncate(int64(3*page)))
		if f := touch(r, 2*page); f != nil {
			t.Error(f)
		}
	}
}

// TestReplacedFile replaces a mapped file by another of the same name, and deletes one: the regions show, write and grow the
// files that they have shown from the start.
func TestReplacedFile(t *testing.T) {
	page := PageSize()
	for name, away := range map[string]func(name string) error{
		"replaced": func(name string) error {
			other := name + ".new"
			return errors.Join(os.WriteFile(other, bytes.Repeat([]byte{'n'}, page), 0o600), os.Rename(other, name))
		},
		"deleted": os.Remove,
		"renamed": func(name string) error { return os.Rename(name, name+".old") },
	} {
		f := letters(t, 2*page)
		shared := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: int64(8 * page)})
		reads, private := mustMap(t, f, FileConfig{Reserve: int64(8 * page)}), mustMap(t, f, FileConfig{Mode: FilePrivate})
		mustDo(t, f.Close(), away(f.Name()))
		shared.Bytes()[page] = 'S'
		if reads.Bytes()[page] != 'S' || reads.Bytes()[1] != letter(1) || private.Bytes()[2*page-1] != letter(2*page-1) {
			t.Errorf("%s: other bytes", name)
		}
		b, err := shared.Grow(page + 1)
		mustDo(t, err, shared.Sync(0, len(b), true), reads.Prefetch(0, 2*page))
		b[3*page] = 'G'
		if b, err = reads.Grow(page + 1); err != nil || b[3*page] != 'G' {
			t.Errorf("%s: a reader of the longer file: %v", name, err)
		}
		if n, err := shared.File().WriteAt([]byte("end"), int64(5*page)); n != 3 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if now, err := os.ReadFile(f.Name()); name == "replaced" && (err != nil || !bytes.Equal(now, bytes.Repeat([]byte{'n'}, page))) || name != "replaced" && err == nil {
			t.Errorf("%s: the name has %d bytes, %v", name, len(now), err)
		}
	}
}

// TestMapFileBeyond32Bits maps the end of a file that is larger than 32 bits count.
func TestMapFileBeyond32Bits(t *testing.T) {
	const size = int64(5<<30 + 17)
	f := letters(t, 0)
	if err := f.Truncate(size); err != nil {
		t.Skipf("no file with a hole of 5 GiB: %v", err)
	}
	_, err := f.WriteAt([]byte("the end"), size-7)
	mustDo(t, err)
	for name, mode := range fileModes {
		r := mustMap(t, f, FileConfig{Offset: size - 7, Mode: mode, Reserve: 100})
		if string(r.Bytes()) != "the end" {
			t.Errorf("%s: %q", name, r.Bytes())
		}
		if mode == FileShared {
			b, err := r.Grow(1)
			mustDo(t, err)
			b[7] = '.'
		}
		mustDo(t, r.Close())
		if mode == FileShared {
			mustDo(t, f.Truncate(size))
		}
	}
	r, err := MapFile(f, FileConfig{})
	if math.MaxInt == math.MaxInt32 {
		if !errors.Is(err, ErrNoMemory) {
			t.Errorf("more bytes than addresses: %v", err)
		}
		return
	}
	mustDo(t, err)
	if b := r.Bytes(); int64(len(b)) != size || string(b[len(b)-7:]) != "the end" || b[len(b)/2] != 0 {
		t.Errorf("%d bytes", len(b))
	}
	mustDo(t, r.Close())
}

// TestMapFileRefused maps files of a file system that cannot map them, or does not now: the error is the kernel's.
func TestMapFileRefused(t *testing.T) {
	before, had := Usage(), descriptors()
	if f, err := os.Open("/sys/kernel/mm/transparent_hugepage/enabled"); err == nil {
		defer f.Close()
		had++
		if r, err := MapFile(f, FileConfig{}); err == nil && r.Size() > 0 || err != nil && !errors.Is(err, syscall.ENODEV) {
			t.Errorf("a file that cannot be mapped: %v", err)
		}
	}
	f := letters(t, 10)
	had++
	for _, nth := range []int{1, 2} { // the addresses, and the file
		stop := vm.Inject(vm.Mmap, nth, syscall.ENODEV)
		_, err := MapFile(f, FileConfig{Mode: FileShared})
		stop()
		if nth == 2 && !errors.Is(err, syscall.ENODEV) || err == nil {
			t.Errorf("call %d: %v", nth, err)
		}
	}
	after := Usage()
	if before.Regions != after.Regions || before.Committed != after.Committed || descriptors() > 0 && descriptors() != had {
		t.Errorf("before %+v, after %+v; %d descriptors, want %d", before, after, descriptors(), had)
	}
}

// TestFileMethods reads and writes a region through File, and compares with a file of the system.
func TestFileMethods(t *testing.T) {
	page := PageSize()
	f, model := letters(t, 2*page), letters(t, 2*page)
	r := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: int64(64 * page)})
	file := r.File()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		n, off := rng.IntN(page), rng.IntN(8*page)
		if i > 1000 {
			off = rng.IntN(60 * page)
		}
		a, b := make([]byte, n), make([]byte, n)
		var n1, n2 int
		var err1, err2 error
		switch rng.IntN(6) {
		case 0:
			n1, err1 = file.ReadAt(a, int64(off))
			n2, err2 = model.ReadAt(b, int64(off))
		case 1:
			for j := range a {
				a[j] = byte(rng.Uint32())
			}
			copy(b, a)
			n1, err1 = file.WriteAt(a, int64(off))
			n2, err2 = model.WriteAt(b, int64(off))
		case 2:
			n1, err1 = file.Read(a)
			n2, err2 = model.Read(b)
		case 3:
			if at, err := file.Seek(0, io.SeekCurrent); err != nil || at > int64(62*page) {
				continue
			}
			n1, err1 = file.Write(a)
			n2, err2 = model.Write(b)
		default:
			whence := rng.IntN(3)
			at := int64(off - 4*page)
			p1, e1 := file.Seek(at, whence)
			p2, e2 := model.Seek(at, whence)
			if e2 == nil && p1 != p2 || (e1 == nil) != (e2 == nil) {
				t.Fatalf("step %d: seek %d %d: %d, %v; want %d, %v", i, at, whence, p1, e1, p2, e2)
			}
		}
		if n1 != n2 || (err1 == nil) != (err2 == nil) || errors.Is(err1, io.EOF) != errors.Is(err2, io.EOF) || !bytes.Equal(a, b) {
			t.Fatalf("step %d: %d, %v; want %d, %v", i, n1, err1, n2, err2)
		}
	}
	want, err := os.ReadFile(model.Name())
	mustDo(t, err)
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) || !bytes.Equal(r.Bytes(), want) {
		t.Fatalf("the files differ: %v", err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<40)); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes: %v", len(got), err)
	}
	for what, err := range map[string]error{
		"negative read": second(file.ReadAt(make([]byte, 1), -1)), "negative write": second(file.WriteAt(make([]byte, 1), -1)),
		"far write": second(file.WriteAt(make([]byte, 1), math.MaxInt64)), "whence": second(file.Seek(0, 3)), "far seek": second(file.Seek(math.MaxInt64, io.SeekEnd)),
		"write beyond the reservation": second(file.WriteAt(make([]byte, 1), int64(65*page))),
		"write to a file for reading":  second(mustMap(t, f, FileConfig{}).File().WriteAt([]byte{1}, 0)),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if err := second(mustMap(t, f, FileConfig{}).File().Write([]byte{1})); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("write to a file for reading: %v", err)
	}
	mustDo(t, r.Close())
	if err := errors.Join(second(file.ReadAt(make([]byte, 1), 0))); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	// Anonymous memory has errors in the place of faults, too.
	a := mustReserve(t, Config{Size: 4 * page, Reserve: 8 * page})
	mustDo(t, a.Commit(0, page))
	var fault *Fault
	if n, err := a.File().ReadAt(make([]byte, 2*page), 5); !errors.As(err, &fault) || fault.Kind != Decommitted || n != page-5 {
		t.Errorf("read %d bytes of memory that is not committed: %v", n, err)
	}
	if n, err := a.File().WriteAt([]byte("grown"), int64(4*page)); err != nil || n != 5 || a.Size() != 5*page {
		t.Errorf("wrote %d bytes, size %d: %v", n, a.Size(), err)
	}
}

// TestMapFileBadInput hands over what cannot be mapped: a clear error, nothing mapped, nothing lost, no descriptor kept.
func TestMapFileBadInput(t *testing.T) {
	page := PageSize()
	f, gone, dir := letters(t, 2*page), letters(t, 1), t.TempDir()
	mustDo(t, gone.Close())
	open := func(name string, flag int) *os.File {
		file, err := os.OpenFile(name, flag, 0)
		mustDo(t, err)
		t.Cleanup(func() { file.Close() })
		return file
	}
	folder, device := open(dir, os.O_RDONLY), open("/dev/zero", os.O_RDWR)
	writeOnly, readOnly := open(f.Name(), os.O_WRONLY), open(f.Name(), os.O_RDONLY)
	pipe, end, err := os.Pipe()
	mustDo(t, err)
	defer pipe.Close()
	defer end.Close()
	huge := int64(math.MaxInt64)
	before, had := Usage(), descriptors()
	for what, c := range map[string]struct {
		f    *os.File
		c    FileConfig
		want error
	}{
		"no file":                  {nil, FileConfig{}, nil},
		"closed file":              {gone, FileConfig{}, os.ErrClosed},
		"folder":                   {folder, FileConfig{}, nil},
		"pipe":                     {pipe, FileConfig{}, nil},
		"device":                   {device, FileConfig{Length: 1}, nil},
		"write-only":               {writeOnly, FileConfig{}, fs.ErrPermission},
		"write-only, shared":       {writeOnly, FileConfig{Mode: FileShared}, fs.ErrPermission},
		"read-only, shared":        {readOnly, FileConfig{Mode: FileShared}, fs.ErrPermission},
		"offset beyond the end":    {f, FileConfig{Offset: int64(2*page + 1)}, io.ErrUnexpectedEOF},
		"length beyond the end":    {f, FileConfig{Offset: 1, Length: int64(2 * page)}, io.ErrUnexpectedEOF},
		"negative offset":          {f, FileConfig{Offset: -1}, nil},
		"least offset":             {f, FileConfig{Offset: math.MinInt64}, nil},
		"negative length":          {f, FileConfig{Length: -1}, nil},
		"negative reserve":         {f, FileConfig{Reserve: -1}, nil},
		"most offset":              {f, FileConfig{Offset: huge}, io.ErrUnexpectedEOF},
		"most length":              {f, FileConfig{Length: huge}, io.ErrUnexpectedEOF},
		"most offset and length":   {f, FileConfig{Offset: huge, Length: huge}, io.ErrUnexpectedEOF},
		"most reserve":             {f, FileConfig{Reserve: huge}, ErrNoMemory},
		"more than an int":         {f, FileConfig{Reserve: math.MaxInt}, ErrNoMemory},
		"reserve below the length": {f, FileConfig{Reserve: 1}, nil},
		"no mode":                  {f, FileConfig{Mode: 3}, nil},
	} {
		r, err := MapFile(c.f, c.c)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
		if r != nil {
			t.Errorf("%s: mapped all the same", what)
		}
	}
	mustDo(t, second(SetBudget(Budget{Hard: Committed() + 1})))
	_, err = MapFile(f, FileConfig{Mode: FilePrivate})
	shared, err2 := MapFile(f, FileConfig{Mode: FileShared})
	mustDo(t, second(SetBudget(Budget{})), err2, shared.Close())
	if !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the budget: %v", err)
	}
	before.Quarantined = Usage().Quarantined
	if after := Usage(); before.Regions != after.Regions || before.Committed != after.Committed {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if now := descriptors(); now != had {
		t.Errorf("%d descriptors, before %d", now, had)
	}
	var zero Region
	for what, call := range map[string]func(){"File": func() { zero.File() }, "Grow": func() { zero.Grow(1) }, "Sync": func() { zero.Sync(0, 0, true) }, "Prefetch": func() { zero.Prefetch(0, 0) }} {
		func() {
			defer func() {
				if v, ok := recover().(*Violation); !ok || v.Kind != ZeroValue {
					t.Errorf("%s of a zero Region: %v", what, v)
				}
			}()
			call()
		}()
	}
}

// mapFileScenario makes every call of a mapped file once. After an error it makes the call once more, which must succeed:
// an injected failure happens once.
func mapFileScenario(t *testing.T) (errs []error) {
	try := func(what string, f func() error) {
		if err := f(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			if err := f(); err != nil {
				t.Errorf("%s failed again: %v", what, err)
			}
		}
	}
	page := PageSize()
	f := letters(t, page+5)
	defer f.Close()
	var r, private *Region
	try("MapFile", func() (err error) {
		r, err = MapFile(f, FileConfig{Offset: 3, Mode: FileShared, Reserve: int64(8 * page), Populate: true})
		return err
	})
	try("private", func() (err error) {
		private, err = MapFile(f, FileConfig{Mode: FilePrivate})
		return err
	})
	for range 2 {
		size := r.Size()
		try("Grow", func() error {
			_, err := r.Grow(page)
			if info, e := f.Stat(); e != nil || err != nil && (info.Size() != int64(size+3) || r.Size() != size) || err == nil && info.Size() != int64(size+3+page) {
				t.Errorf("after %v the file has %d bytes, and the region %d of %d", err, info.Size(), r.Size(), size)
			}
			return err
		})
	}
	try("Prefetch", func() error { return r.Prefetch(0, r.Size()) })
	try("Advise", func() error { return r.Advise(0, r.Size(), Random) })
	try("DontNeed", func() error { return r.Advise(0, r.Size(), DontNeed) })
	try("Lock", func() error { return r.Lock(0, 1) })
	try("Unlock", func() error { return r.Unlock(0, 1) })
	try("Protect", func() error { return private.Protect(0, private.Size(), Read) })
	r.Bytes()[r.Size()-1] = 9
	try("Sync", func() error { return r.Sync(0, r.Size(), true) })
	try("Sync, begun", func() error { return r.Sync(0, r.Size(), false) })
	if b := private.Bytes(); b[0] != letter(0) || r.Bytes()[0] != letter(3) || r.Size() != 3*page+2 {
		t.Error("contents lost")
	}
	try("Close", r.Close)
	try("Close, private", private.Close)
	return errs
}

// TestMapFileFailEveryCall makes every system call of every kind fail once at every position: one error, which the caller
// sees, and nothing is lost.
func TestMapFileFailEveryCall(t *testing.T) {
	bound := CurrentQuarantine()
	defer SetQuarantine(bound)
	SetQuarantine(0)
	for kind := range vm.Kinds {
		stop := vm.Inject(kind, 0, nil)
		if errs := mapFileScenario(t); errs != nil {
			stop()
			t.Fatalf("nothing injected: %v", errs)
		}
		calls := stop()
		for nth := 1; nth <= calls; nth++ {
			before, had := Usage(), descriptors()
			stop := vm.Inject(kind, nth, vm.OutOfMemory)
			errs := mapFileScenario(t)
			stop()
			SetQuarantine(1 << 20) // what munmap refused goes now
			SetQuarantine(0)
			if len(errs) > 1 || len(errs) == 0 && kind != vm.Munmap && kind != vm.Madvise {
				t.Errorf("%v %d of %d: %d errors: %v", kind, nth, calls, len(errs), errs)
			}
			for _, err := range errs {
				if !errors.Is(err, ErrNoMemory) {
					t.Errorf("%v %d of %d: the error does not wrap ErrNoMemory: %v", kind, nth, calls, err)
				}
			}
			after := Usage()
			before.Resident, after.Resident = 0, 0
			if before != after || descriptors() != had {
				t.Errorf("%v %d of %d: before %+v, after %+v; %d descriptors, before %d", kind, nth, calls, before, after, descriptors(), had)
			}
		}
		if calls > 0 {
			t.Logf("%-10v %2d positions", kind, calls)
		}
	}
}

// TestGrowWithoutFallocate grows a file on a file system that cannot set space aside: zeroes are written instead.
func TestGrowWithoutFallocate(t *testing.T) {
	page := PageSize()
	f := letters(t, 10)
	r := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: int64(4 * page)})
	if runtime.GOOS == "linux" {
		stop := vm.Inject(vm.Fallocate, 1, vm.ErrUnsupported)
		defer stop()
	}
	b, err := r.Grow(page)
	mustDo(t, err)
	if info, err := f.Stat(); err != nil || info.Size() != int64(10+page) || b[9] != letter(9) || b[10] != 0 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

// TestGrowUndo has the disk refuse space after the file became longer, as ext4 does: the file is as long as before.
func TestGrowUndo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no fallocate here")
	}
	page := PageSize()
	f := letters(t, 10)
	r := mustMap(t, f, FileConfig{Mode: FileShared, Reserve: int64(4 * page)})
	stop := vm.Inject(vm.Fallocate, 1, syscall.ENOSPC)
	mustDo(t, f.Truncate(int64(10)))
	_, err := r.Grow(page)
	stop()
	if info, _ := f.Stat(); !errors.Is(err, syscall.ENOSPC) || info.Size() != 10 || r.Size() != 10 {
		t.Errorf("%v; the file has %d bytes", err, info.Size())
	}
}
