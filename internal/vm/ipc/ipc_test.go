package ipc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"
)

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestMain tests one thing on other systems: that all calls say that they are not there.
func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" {
		_, q := CreateQueue()
		_, s := CreateSegment(1)
		_, p := CreateMail("offheap", 1, 1)
		_, _, u := Sockets(true)
		for _, err := range []error{q, s, p, u} {
			if !errors.Is(err, errors.ErrUnsupported) {
				fmt.Println("a call of Linux on another system:", err)
				os.Exit(1)
			}
		}
		return
	}
	os.Exit(m.Run())
}

// TestQueue sends messages through a System V queue until it is full.
func TestQueue(t *testing.T) {
	q, err := CreateQueue()
	mustDo(t, err)
	defer q.Remove()
	b := make([]byte, TypeSize+1000)
	if _, err := q.Receive(b, false); err != ErrWouldWait {
		t.Errorf("an empty queue: %v", err)
	}
	sent := 0
	for ; ; sent++ {
		b[TypeSize] = byte(sent)
		if err = q.Send(b, false); err != nil {
			break
		}
	}
	if err != ErrWouldWait || sent == 0 {
		t.Errorf("%d messages, and then %v", sent, err)
	}
	short := make([]byte, TypeSize+999)
	if _, err := q.Receive(short, true); err == nil {
		t.Error("a message was received into less room")
	}
	for i := range sent {
		if n, err := q.Receive(b, true); err != nil || n != 1000 || b[TypeSize] != byte(i) {
			t.Fatalf("message %d: %d bytes, the first %d: %v", i, n, b[TypeSize], err)
		}
	}
	// A message without bytes is one, too.
	mustDo(t, q.Send(b[:TypeSize], true))
	if n, err := q.Receive(b, true); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	mustDo(t, q.Remove(), q.Remove())
	if err := q.Send(b, true); err == nil {
		t.Error("a message was sent to a queue that is gone")
	}
	if _, err := q.Receive(b, true); err == nil {
		t.Error("a message was received from a queue that is gone")
	}
}

// TestRemoveWakes removes a queue that a goroutine waits for.
func TestRemoveWakes(t *testing.T) {
	q, err := CreateQueue()
	mustDo(t, err)
	ended := make(chan error)
	go func() {
		_, err := q.Receive(make([]byte, TypeSize+1), true)
		ended <- err
	}()
	mustDo(t, q.Remove())
	if <-ended == nil {
		t.Error("a message came from a queue that is gone")
	}
}

// TestSegment attaches memory twice, the second time after it was removed and over a mapping that is there.
func TestSegment(t *testing.T) {
	page := os.Getpagesize()
	s, err := CreateSegment(page)
	mustDo(t, err)
	defer s.Remove()
	a, err := s.Attach(nil)
	mustDo(t, err)
	other, err := CreateSegment(page)
	mustDo(t, err)
	b, err := other.Attach(nil)
	mustDo(t, err, other.Remove(), s.Remove())
	c, err := s.Attach(b)
	mustDo(t, err)
	if c != b {
		t.Errorf("attached at %p in the place of %p", c, b)
	}
	*(*uint64)(a) = 42
	if got := *(*uint64)(unsafe.Add(c, 0)); got != 42 {
		t.Errorf("the other mapping has %d", got)
	}
	mustDo(t, Detach(a), Detach(c))
	if _, err := s.Attach(nil); err == nil {
		t.Error("memory that is gone was attached")
	}
	if Detach(a) == nil {
		t.Error("detached twice")
	}
	mustDo(t, s.Remove())
	if _, err := CreateSegment(0); err == nil {
		t.Error("made memory of no bytes")
	}
}

// TestMail sends messages through a POSIX queue until it is full.
func TestMail(t *testing.T) {
	name := fmt.Sprintf("offheap-test-%d", os.Getpid())
	f, err := CreateMail(name, 2, 100)
	mustDo(t, err)
	defer f.Close()
	defer RemoveMail(name)
	if _, err := CreateMail(name, 2, 100); err == nil {
		t.Error("made the same queue twice")
	}
	again, err := OpenMail(name)
	mustDo(t, err)
	defer again.Close()
	mustDo(t, RemoveMail(name), RemoveMail(name))
	if _, err := OpenMail(name); err == nil {
		t.Error("opened a queue that has no name any more")
	}
	to, from := int(f.Fd()), int(again.Fd())
	b := make([]byte, 100)
	if _, err := ReceiveMail(from, b, false); err != ErrWouldWait {
		t.Errorf("an empty queue: %v", err)
	}
	mustDo(t, SendMail(to, []byte("one"), true), SendMail(to, []byte("three"), false))
	if err := SendMail(to, b, false); err != ErrWouldWait {
		t.Errorf("a full queue: %v", err)
	}
	if err := SendMail(to, make([]byte, 101), true); err == nil {
		t.Error("sent a message that is too long")
	}
	if _, err := ReceiveMail(from, b[:99], true); err == nil {
		t.Error("received into less room than the queue's longest message needs")
	}
	for _, want := range []string{"one", "three"} {
		if n, err := ReceiveMail(from, b, true); err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
	for _, name := range []string{"offheap\x00test", "offheap/test"} {
		if _, err := CreateMail(name, 1, 1); err == nil {
			t.Errorf("made a queue with the name %q", name)
		}
	}
	if RemoveMail("offheap\x00test") == nil {
		t.Error("removed what cannot be a name")
	}
}

// TestTryRead reads from a pipe what there is.
func TestTryRead(t *testing.T) {
	r, w, err := os.Pipe()
	mustDo(t, err)
	defer r.Close()
	got, err := SetPipeSize(w, 1<<16)
	if err != nil || got < 1<<16 {
		t.Errorf("a pipe of %d bytes, %v", got, err)
	}
	b := make([]byte, 100)
	if _, err := TryRead(r, b); err != ErrWouldWait {
		t.Errorf("an empty pipe: %v", err)
	}
	_, err = w.WriteString("words")
	mustDo(t, err)
	if n, err := TryRead(r, b); err != nil || string(b[:n]) != "words" {
		t.Errorf("%q, %v", b[:n], err)
	}
	mustDo(t, w.Close())
	if n, err := TryRead(r, b); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	mustDo(t, r.Close())
	if _, err := TryRead(r, b); err == nil {
		t.Error("read from a closed pipe")
	}
	if _, err := SetPipeSize(w, 1<<16); err == nil {
		t.Error("set the size of a closed pipe")
	}
}

// TestSockets sends packets and bytes.
func TestSockets(t *testing.T) {
	for _, packets := range []bool{true, false} {
		a, b, err := Sockets(packets)
		mustDo(t, err)
		_, err1 := a.WriteString("one")
		_, err2 := a.WriteString("two")
		mustDo(t, err1, err2)
		buffer := make([]byte, 100)
		want := "onetwo"
		if packets {
			want = "one"
		}
		if n, err := TryRead(b, buffer); err != nil || string(buffer[:n]) != want {
			t.Errorf("packets %v: %q, %v", packets, buffer[:n], err)
		}
		mustDo(t, a.Close(), b.Close())
	}
}
