package messages

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/seed-9a6c551e/offheap/internal/workload"
)

// Pattern is who sends when.
type Pattern string

const (
	OneWay   Pattern = "oneway"   // one side sends, the other receives
	PingPong Pattern = "pingpong" // each message is answered by one as long before the next is sent
)

// task is what a side process is to do. It gets one, and then rounds.
type task struct {
	End     end
	Pattern Pattern
	Touched bool
	Orphan  Mechanism // makes a link, sends a message and waits to be killed, instead of all else
}

// round is a number of messages; in ping-pong, each way.
type round struct{ Messages int }

// answer is what a side says of a round.
type answer struct {
	Error      string
	Start, End int64         // nanoseconds since 1970, which all processes count equally
	CPU        time.Duration // of all threads of the process
	P50, P99   int64         // nanoseconds: of a side that sees latencies
}

// samples is about how many messages of a round carry their time in OneWay.
const samples = 1 << 14

// RunSide is a side process: it reads a task and rounds from in, and writes answers to out. It returns when in has ended, whatever it
// is doing then; its process must end at once, because other goroutines still wait for messages.
func RunSide(in io.Reader, out io.Writer) error {
	// A terminal interrupts all processes. The one that started this one decides, and ends its input. It may be dead when there is
	// an answer to write, and then SIGPIPE would end this process before it has removed anything.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	t, rounds, ended := task{}, make(chan round), make(chan error, 2)
	decoder := gob.NewDecoder(in)
	if err := decoder.Decode(&t); err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	if t.Orphan != "" {
		return beOrphan(t.Orphan, in, gob.NewEncoder(out))
	}
	go func() {
		for {
			var r round
			if err := decoder.Decode(&r); err != nil {
				ended <- nil
				return
			}
			rounds <- r
		}
	}()
	go func() { ended <- t.run(rounds, gob.NewEncoder(out)) }()
	err := <-ended
	// The process that started this one may be dead.
	return errors.Join(unlessUnheard(err), t.End.remove())
}

// unlessUnheard returns nil for the error of an answer that nobody reads: the process that started this one is dead.
func unlessUnheard(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// run does the rounds. It returns after the first that fails.
func (t *task) run(rounds <-chan round, out *gob.Encoder) error {
	var c conn
	err := t.End.inherit()
	if err == nil {
		c, err = t.End.open()
	}
	for r := range rounds {
		var a answer
		if err == nil {
			a, err = t.measure(c, r.Messages)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if e := out.Encode(a); e != nil || err != nil {
			return e // the other process reports err
		}
	}
	return nil
}

// measure does one round.
func (t *task) measure(c conn, n int) (a answer, err error) {
	cpu := workload.ProcessorTime()
	a.Start = time.Now().UnixNano()
	var latencies []int64
	switch {
	case t.Pattern == PingPong && t.End.Side == 0:
		latencies, err = ask(c, n)
	case t.Pattern == PingPong:
		err = reply(c, n)
	case t.End.Side == 0:
		err = send(c, n, t.Touched)
	default:
		latencies, err = receive(c, n, t.Touched)
	}
	a.End = time.Now().UnixNano()
	a.CPU = workload.ProcessorTime() - cpu
	if len(latencies) > 0 {
		slices.Sort(latencies)
		a.P50, a.P99 = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	}
	return a, err
}

// interval is how many messages lie between two that carry their time.
func interval(n int) int { return max(1, n/samples) }

// send sends n messages. If touched is false it writes to those alone that carry their time.
func send(c conn, n int, touched bool) error {
	if r, ok := c.(*ringConn); ok {
		return r.send(n, touched)
	}
	every, next := interval(n), 0
	for i := range n {
		b, err := c.claim()
		if err != nil {
			return err
		}
		if touched {
			fill(b, uint64(i))
		}
		if i == next {
			stamp(b, i)
			next += every
		}
		if err := c.publish(); err != nil {
			return err
		}
	}
	return c.flush()
}

// receive receives n messages of send.
func receive(c conn, n int, touched bool) (latencies []int64, err error) {
	if r, ok := c.(*ringConn); ok {
		return r.receive(n, touched)
	}
	every, next := interval(n), 0
	latencies = make([]int64, 0, n/every+1)
	for i := range n {
		b, err := c.peek()
		if err == nil && touched {
			err = check(b, uint64(i))
		}
		if err == nil && i == next {
			latencies, err = appendLatency(latencies, b, i)
			next += every
		}
		if err == nil {
			err = c.release()
		}
		if err != nil {
			return nil, err
		}
	}
	return latencies, nil
}

// ask sends n messages and waits for the answer of each.
func ask(c conn, n int) (latencies []int64, err error) {
	latencies = make([]int64, n)
	before := time.Now()
	for i := range n {
		err := sendOne(c, uint64(i))
		if err == nil {
			err = receiveOne(c, uint64(i))
		}
		if err != nil {
			return nil, err
		}
		now := time.Now()
		latencies[i] = now.Sub(before).Nanoseconds()
		before = now
	}
	return latencies, nil
}

// reply answers n messages.
func reply(c conn, n int) error {
	for i := range n {
		err := receiveOne(c, uint64(i))
		if err == nil {
			err = sendOne(c, uint64(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sendOne(c conn, number uint64) error {
	b, err := c.claim()
	if err != nil {
		return err
	}
	fill(b, number)
	if err := c.publish(); err != nil {
		return err
	}
	return c.flush()
}

func receiveOne(c conn, number uint64) error {
	b, err := c.peek()
	if err != nil {
		return err
	}
	return errors.Join(check(b, number), c.release())
}
