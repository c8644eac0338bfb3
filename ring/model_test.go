package ring

import "testing"

// A model of one producer and one consumer, in which each step is one access to shared memory or one system call, as in
// side.go. TestModel goes through all interleavings: no message is overwritten before it is read, all arrive in order, and the
// two never sleep both while something is to be done. TestModelNotices breaks the model in ways that must be found.
const (
	modelSize     = 2 // messages that fit
	modelMessages = 5
)

// broken says which step a model leaves out or misplaces.
type broken int

const (
	asBuilt      broken = iota
	noSecondLook        // sleep without a look at the index after saying so
	wakeFirst           // look whether the other sleeps, and only then store the index
	noShow              // sleep without showing
	sleepBlindly        // sleep whatever the word says
)

// party is one side: its private copies and its place in the code.
type party struct {
	at                       step
	pos, shown, peer         uint8
	returnTo                 step // where show goes on
	blocked                  bool
	announceLate, sawSleeper bool
}

type step uint8

const (
	work      step = iota // use room, if there is some
	look                  // load the other's index
	publish               // store the own index
	peekSleep             // load the other's asleep
	swapSleep             // swap it for 0
	wake                  // the system call
	announce              // store asleep = 1
	lookAgain             // load the other's index
	retract               // store asleep = 0
	sleep                 // the system call
	finished
)

type model struct {
	side   [2]party // producer, consumer
	index  [2]uint8
	asleep [2]bool
	slots  [modelSize]uint8
}

// room returns how many messages a side may write or read.
func (m *model) room(i int) uint8 {
	p := &m.side[i]
	if i == 0 {
		return modelSize + p.peer - p.pos
	}
	return p.peer - p.pos
}

// step makes the next step of side i. ok is false if it sleeps or has ended. wrong says what must never happen.
func (m *model) step(i int, batch uint8, how broken) (ok bool, wrong string) {
	p := &m.side[i]
	show := func(then step) {
		p.returnTo = then
		switch {
		case p.pos == p.shown:
			p.at = then
		case how == wakeFirst:
			p.at, p.announceLate = peekSleep, true
		default:
			p.at = publish
		}
	}
	switch p.at {
	case work:
		switch {
		case p.pos == modelMessages:
			show(finished)
		case m.room(i) == 0:
			p.at = look
		default:
			slot := &m.slots[p.pos%modelSize]
			if i == 0 {
				if *slot != 0 {
					return true, "a message is overwritten that nobody has read"
				}
				*slot = p.pos + 1
			} else {
				if *slot != p.pos+1 {
					return true, "the consumer reads what is not its message"
				}
				*slot = 0
			}
			p.pos++
			if p.pos-p.shown >= batch {
				show(work)
			}
		}
	case look:
		p.peer = m.index[1-i]
		switch {
		case m.room(i) > 0:
			p.at = work
		case how == noShow:
			p.at = announce
		default:
			show(announce)
		}
	case publish:
		m.index[i], p.shown = p.pos, p.pos
		p.at = peekSleep
		if p.announceLate {
			p.at = p.returnTo
			if p.sawSleeper {
				p.at = swapSleep
			}
			p.announceLate, p.sawSleeper = false, false
		}
	case peekSleep:
		switch {
		case p.announceLate:
			p.sawSleeper = m.asleep[1-i]
			p.at = publish
		case m.asleep[1-i]:
			p.at = swapSleep
		default:
			p.at = p.returnTo
		}
	case swapSleep:
		was := m.asleep[1-i]
		m.asleep[1-i] = false
		p.at = p.returnTo
		if was {
			p.at = wake
		}
	case wake:
		m.side[1-i].blocked = false
		p.at = p.returnTo
	case announce:
		m.asleep[i] = true
		p.at = lookAgain
		if how == noSecondLook {
			p.at = sleep
		}
	case lookAgain:
		p.peer = m.index[1-i]
		p.at = sleep
		if m.room(i) > 0 {
			p.at = retract
		}
	case retract:
		m.asleep[i] = false
		p.at = work
	case sleep:
		if p.blocked {
			return false, ""
		}
		p.at = announce
		p.blocked = m.asleep[i] || how == sleepBlindly
		if p.blocked {
			p.at = sleeping
		}
	case sleeping:
		if p.blocked {
			return false, ""
		}
		p.at = announce
	case finished:
		return false, ""
	}
	return true, ""
}

const sleeping = finished + 1

// explore goes through all interleavings, and returns how many states there are, and what went wrong in one.
func explore(batch uint8, how broken) (states int, wrong string) {
	seen := map[model]bool{{}: true}
	for todo := []model{{}}; len(todo) > 0; {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		moved := false
		for i := range m.side {
			next := m
			ok, wrong := next.step(i, batch, how)
			if wrong != "" {
				return len(seen), wrong
			}
			moved = moved || ok
			if ok && !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
		if !moved && (m.side[0].at != finished || m.side[1].at != finished) {
			return len(seen), "both sides sleep"
		}
	}
	return len(seen), ""
}

func TestModel(t *testing.T) {
	for batch := uint8(1); batch <= modelMessages; batch++ {
		states, wrong := explore(batch, asBuilt)
		if wrong != "" || states < 100 {
			t.Errorf("batches of %d: %s, after %d states", batch, wrong, states)
		}
	}
}

func TestModelNotices(t *testing.T) {
	for how := noSecondLook; how <= sleepBlindly; how++ {
		found := false
		for batch := uint8(1); batch <= modelMessages; batch++ {
			_, wrong := explore(batch, how)
			found = found || wrong != ""
		}
		if !found {
			t.Errorf("nothing is wrong with the model that is broken in way %d", how)
		}
	}
}
