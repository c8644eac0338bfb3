package ring

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/seed-9a6c551e/offheap/internal/vm"
)

// bell ends a wait from inside this process. The other side cannot reach it.
type bell struct {
	count   atomic.Uint32   // how often it has rung
	done    <-chan struct{} // of the context that is watched; nil if none is
	unwatch func() bool
}

// ring makes whoever waits look whether to wait on.
func (b *bell) ring() {
	b.count.Add(1)
	vm.Wake(&b.count, math.MaxInt32, true)
}

// while returns the word to wait at until the bell rings again.
func (b *bell) while(ticket uint32) vm.WaitWord { return vm.WaitWhile(&b.count, ticket, true) }

// watch makes the bell ring when the context is done. It remembers the last context, so that a program that waits with one
// context again and again allocates once.
func (b *bell) watch(ctx context.Context) {
	done := ctx.Done()
	if done == b.done {
		return
	}
	if b.unwatch != nil {
		b.unwatch()
	}
	b.done, b.unwatch = done, nil
	if done != nil {
		b.unwatch = context.AfterFunc(ctx, b.ring)
	}
}
