package messages

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// Side starts a process that calls RunSide with its standard input and output. It has the files as descriptors from 3 on.
type Side func(files []*os.File) (*exec.Cmd, error)

// process is a side process.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	enc  *gob.Encoder
	dec  *gob.Decoder
}

// startProcess starts a side process and gives it its task.
func (start Side) startProcess(name string, t task, files []*os.File) (p *process, err error) {
	p = &process{name: name}
	if p.cmd, err = start(files); err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		p.in.Close()
		return nil, err
	}
	if err = p.cmd.Start(); err != nil {
		p.in.Close()
		return nil, err
	}
	p.enc, p.dec = gob.NewEncoder(p.in), gob.NewDecoder(p.out)
	if err = p.enc.Encode(t); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// kill ends the process at once.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// end ends the process's input, and waits for its end.
func (p *process) end() error {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// do has the process do a round.
func (p *process) do(r round) (a answer, err error) {
	if err = p.enc.Encode(r); err == nil {
		err = p.dec.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w", p.name, err)
	}
	return a, nil
}

// pair is both side processes of a link.
type pair struct {
	sides [2]*process
	link  *link
}

// startPair starts both sides. It takes the link over, also if there is an error.
func (start Side) startPair(l *link, pattern Pattern, touched bool) (p *pair, err error) {
	p = &pair{link: l}
	for i, name := range [2]string{"the sender", "the receiver"} {
		t := task{End: l.ends[i], Pattern: pattern, Touched: touched}
		if p.sides[i], err = start.startProcess(name, t, l.ends[i].files); err != nil {
			return nil, errors.Join(err, p.end())
		}
	}
	// After a round without messages both have opened their ends. From then on a side learns from the link that the other has
	// ended.
	_, err = p.do(round{})
	if err = errors.Join(err, l.close()); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// end ends both sides, and removes what would outlive them.
func (p *pair) end() (err error) {
	for _, s := range p.sides {
		if s != nil {
			s.in.Close() // so that both end at the same time
		}
	}
	for _, s := range p.sides {
		if s != nil {
			err = errors.Join(err, s.end())
		}
	}
	return errors.Join(err, p.link.close(), p.link.remove())
}

// kill ends both sides at once.
func (p *pair) kill() {
	for _, s := range p.sides {
		s.kill()
	}
}

// do has both sides do a round. If one fails, it ends both: the other may wait for ever.
func (p *pair) do(r round) (answers [2]answer, err error) {
	var errs [2]error
	var first error
	var once sync.Once
	var both sync.WaitGroup
	for i, s := range p.sides {
		both.Go(func() {
			if answers[i], errs[i] = s.do(r); errs[i] != nil {
				once.Do(func() { first = errs[i] })
				p.kill()
			}
		})
	}
	both.Wait()
	return answers, first
}

// whileAlive runs f, and ends both sides at once when ctx is done.
func (p *pair) whileAlive(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	err := f()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
