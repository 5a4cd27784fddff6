package batcher

import (
	"sync/atomic"
	"time"
)

// rate counts events in slots of time, for rates over the last minute. One goroutine writes.
type rate struct {
	started time.Time
	slots   [slotCount]atomic.Uint64 // high half: number of the slot in time; low half: events
}

const (
	slotTime  = 250 * time.Millisecond
	slotCount = int(time.Minute/slotTime) + 1
)

func (r *rate) slot(now time.Time) uint32 { return uint32(now.Sub(r.started) / slotTime) }

func (r *rate) add(now time.Time) {
	number := r.slot(now)
	slot := &r.slots[number%uint32(slotCount)]
	value := slot.Load()
	if uint32(value>>32) != number {
		value = uint64(number) << 32
	}
	slot.Store(value + 1)
}

// perSecond is the rate over window, which is at most a minute, or since the start if that is
// later. It falls to 0 when nothing happens any more.
func (r *rate) perSecond(now time.Time, window time.Duration) float64 {
	current := r.slot(now)
	slots := uint32(window / slotTime)
	oldest := uint32(0)
	if current >= slots {
		oldest = current - slots + 1
	}
	events := uint64(0)
	for i := range r.slots {
		value := r.slots[i].Load()
		if number := uint32(value >> 32); number >= oldest && number <= current {
			events += value & 0xffffffff
		}
	}
	span := now.Sub(r.started) - time.Duration(oldest)*slotTime
	return float64(events) / max(span, slotTime).Seconds()
}
