package ring

// Stats has figures of one side.
type Stats struct {
	Depth   int    // bytes of the ring that are shown and not given back, by the words that both sides share
	Stalls  uint64 // waits for room, or for a message
	Parks   uint64 // of those, how often the side slept: system calls
	Wakes   uint64 // how often it woke the other side: system calls
	Dropped uint64 // messages that the producer dropped (DropOldest)
}

// Stats returns the figures of this side so far. Any goroutine may call it until Close.
func (s *side) Stats() Stats {
	s.mustBeOpen("Stats")
	h := s.ring.head
	return Stats{
		Depth:  int(min(h.producer.index.Load()-h.consumer.index.Load(), s.size)),
		Stalls: s.stalls.Load(), Parks: s.parks.Load(), Wakes: s.wakes.Load(), Dropped: s.dropped.Load(),
	}
}
