package stack

// CheckInvariants is checkInvariants of a pool whose stacks in use are taken, for tests that import package
// native, which imports this one.
func (p *Pool) CheckInvariants(taken map[*Stack]bool) { p.checkInvariants(taken) }
