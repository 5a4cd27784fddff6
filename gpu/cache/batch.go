package cache

import (
	"fmt"
	"slices"

	"mlx-worker/gpu/mlx"
)

// Batch is the cache of the sequences of one model that decode together. Those of equal capacity
// are a group, whose buffers hold one row for each. Only what joins, leaves or outgrows its group
// is copied; all else stays where it is.
type Batch struct {
	spec   Spec
	groups []*group // by rising capacity; none is empty between steps
}

// Row is a sequence's place in a Batch. It is valid until it leaves.
type Row struct {
	group  *group // nil: has left
	slot   int
	length int // tokens whose keys and values are cached
}

// Length is the number of tokens that the row remembers.
func (r *Row) Length() int { return r.length }

// group is the rows of one capacity.
type group struct {
	capacity int
	slots    int       // rows that the buffers of keys and values have
	rows     []*Row    // by slot
	buffers  []buffers // by layer, empty until the first token
}

// NewBatch returns an empty batch.
func NewBatch(spec Spec) *Batch { return &Batch{spec: spec} }

// Rows are the sequences in the order in which a Pass takes them.
func (b *Batch) Rows() []*Row {
	var all []*Row
	for _, g := range b.groups {
		all = append(all, g.rows...)
	}
	return all
}

// Free drops all rows.
func (b *Batch) Free() {
	for _, g := range b.groups {
		g.free()
	}
	b.groups = nil
}

// Vacate takes a row out at once. Its place is a hole until Arrange, which must come before the
// next pass; the memory of the last row of a capacity is freed here.
func (b *Batch) Vacate(r *Row) {
	g := r.group
	if g == nil {
		return
	}
	g.vacate(r)
	if g.vacant() {
		g.free()
	}
}

// Arrange changes the batch between steps: leaving rows go, joining sequences come (and are empty
// afterwards), and every row has room for one more token. It evaluates what it copies. After an
// error the batch is to be freed.
func (b *Batch) Arrange(stream mlx.Stream, leaving []*Row, joining []*Sequence) (joined []*Row, err error) {
	for _, r := range leaving {
		b.Vacate(r)
	}
	arrivals, err := b.outgrown(stream)
	if err != nil {
		return nil, err
	}
	for _, q := range joining {
		if err := q.settle(stream); err != nil {
			return nil, err
		}
		r := &Row{length: q.length}
		joined = append(joined, r)
		arrivals = append(arrivals, arrival{r, q})
	}
	byGroup := map[*group][]arrival{}
	for _, a := range arrivals {
		g := b.group(a.sequence.capacity)
		byGroup[g] = append(byGroup[g], a)
	}
	for _, g := range b.groups {
		if err := g.settle(stream, b.spec, byGroup[g]); err != nil {
			return nil, err
		}
	}
	b.groups = slices.DeleteFunc(b.groups, func(g *group) bool { return len(g.rows) == 0 })
	return joined, nil
}

// arrival is a settled sequence that is to become a row.
type arrival struct {
	row      *Row
	sequence *Sequence
}

// group returns the group of a capacity, a new one if need be.
func (b *Batch) group(capacity int) *group {
	i, found := slices.BinarySearchFunc(b.groups, capacity, func(g *group, capacity int) int { return g.capacity - capacity })
	if !found {
		b.groups = slices.Insert(b.groups, i, &group{capacity: capacity, buffers: make([]buffers, len(b.spec.Layers))})
	}
	return b.groups[i]
}

// outgrown takes out the rows that have no room for another token.
func (b *Batch) outgrown(stream mlx.Stream) ([]arrival, error) {
	var out []arrival
	for _, g := range b.groups {
		for _, r := range g.rows {
			if r == nil || r.length < g.capacity {
				continue
			}
			q, err := g.extract(stream, b.spec, r)
			if err != nil {
				return nil, err
			}
			g.vacate(r)
			out = append(out, arrival{r, q})
		}
	}
	return out, nil
}

// vacate takes r out and leaves a hole.
func (g *group) vacate(r *Row) {
	g.rows[r.slot] = nil
	r.group = nil
}

func (g *group) vacant() bool {
	return !slices.ContainsFunc(g.rows, func(r *Row) bool { return r != nil })
}

// extract copies a row into a sequence of a capacity with room for more.
func (g *group) extract(stream mlx.Stream, spec Spec, r *Row) (*Sequence, error) {
	q := NewSequence(spec)
	q.length, q.capacity = r.length, spec.CapacityFor(r.length+1)
	err := mlx.Build(stream, func(s *mlx.Scope) error {
		for i, l := range spec.Layers {
			if g.buffers[i].empty() {
				continue // no token yet
			}
			if l.Recurrent {
				q.buffers[i].state.set(s, g.buffers[i].state.get(s, r.slot, 1))
				continue
			}
			held, wanted := l.positions(g.capacity), l.positions(q.capacity)
			row := get(s, g.buffers[i].kv(), r.slot, 1, 0, held)
			if wanted > held {
				row = put(s, room(s, row, 1, wanted), row, 0, 0)
			} else {
				row = row.both(s.Contiguous)
			}
			q.buffers[i].set(s, row)
		}
		return nil
	})
	if err == nil {
		err = mlx.Eval(q.State()...)
	}
	return q, err
}

func (g *group) free() {
	for _, r := range g.rows {
		if r != nil {
			r.group = nil
		}
	}
	freeAll(g.buffers)
	g.rows, g.slots = nil, 0
}

// settle fills holes with arrivals, appends the others, closes the holes that are left and sees
// to it that the buffers have as many slots as are needed.
func (g *group) settle(stream mlx.Stream, spec Spec, arrivals []arrival) error {
	if len(arrivals) == 0 && !slices.Contains(g.rows, nil) {
		return nil
	}
	if g.vacant() {
		g.free()
		if len(arrivals) == 0 {
			return nil
		}
		arrivals[0].sequence.into(g)
		g.place(arrivals[0].row, 0)
		arrivals = arrivals[1:]
	}
	for _, a := range arrivals {
		slot := slices.Index(g.rows, nil)
		if slot < 0 {
			slot = len(g.rows)
		}
		g.place(a.row, slot)
	}
	moved, err := g.closeHoles(stream, spec)
	if err != nil {
		return err
	}
	if err := g.write(stream, spec, append(moved, arrivals...)); err != nil {
		return fmt.Errorf("arrange the caches of %d sequences: %w", len(g.rows), err)
	}
	return nil
}

func (g *group) place(r *Row, slot int) {
	if slot == len(g.rows) {
		g.rows = append(g.rows, nil)
	}
	g.rows[slot] = r
	r.group, r.slot = g, slot
}

// into makes the sequence's buffers those of g, without a copy.
func (q *Sequence) into(g *group) {
	for i := range q.buffers {
		g.buffers[i] = q.buffers[i].move()
	}
	g.slots = 1
}

// closeHoles moves rows from the end into holes. They are copied out here: a buffer that is read
// while it is written would be copied as a whole.
func (g *group) closeHoles(stream mlx.Stream, spec Spec) (moved []arrival, err error) {
	for {
		for len(g.rows) > 0 && g.rows[len(g.rows)-1] == nil {
			g.rows = g.rows[:len(g.rows)-1]
		}
		hole := slices.Index(g.rows, nil)
		if hole < 0 {
			return moved, nil
		}
		last := g.rows[len(g.rows)-1]
		q, err := g.extract(stream, spec, last)
		if err != nil {
			return nil, err
		}
		g.rows = g.rows[:len(g.rows)-1]
		g.place(last, hole)
		moved = append(moved, arrival{last, q})
	}
}

// write copies arrivals to their rows' slots and frees their sequences.
func (g *group) write(stream mlx.Stream, spec Spec, arrivals []arrival) error {
	slots := g.wantedSlots()
	if len(arrivals) == 0 && slots == g.slots {
		return nil
	}
	defer func() {
		for _, a := range arrivals {
			a.sequence.Free()
		}
	}()
	err := mlx.Build(stream, func(s *mlx.Scope) error {
		for i, l := range spec.Layers {
			if l.Recurrent {
				g.writeState(s, &g.buffers[i].state, i, arrivals)
				continue
			}
			g.writeLayer(s, &g.buffers[i], i, l.positions(g.capacity), slots, arrivals)
		}
		return nil
	})
	if err != nil {
		return err
	}
	g.slots = slots
	return mlx.Eval(arrays(g.buffers)...)
}

func (g *group) writeLayer(s *mlx.Scope, b *buffers, layer, positions, slots int, arrivals []arrival) {
	whole := b.kv()
	if !b.empty() && slots != g.slots {
		kept := min(slots, g.slots)
		whole = resized(s, whole, slots, positions, kept, positions)
	}
	for _, a := range arrivals {
		part := &a.sequence.buffers[layer]
		if part.empty() {
			continue // no token yet
		}
		if whole.keys.IsNull() {
			whole = room(s, part.kv(), slots, positions)
		}
		whole = put(s, whole, part.kv(), a.row.slot, 0)
	}
	if !whole.keys.IsNull() {
		b.set(s, whole)
	}
}

// writeState writes the states of arrivals, zeros for those without a token. Rows beyond those that
// there are go with the next step.
func (g *group) writeState(s *mlx.Scope, st *state, layer int, arrivals []arrival) {
	if !st.empty() && st.rows() < len(g.rows) {
		st.grow(s, len(g.rows))
	}
	for _, a := range arrivals {
		part := a.sequence.buffers[layer].state
		if st.empty() {
			*st = part.room(s, len(g.rows))
		}
		st.put(s, a.row.slot, part)
	}
}

// wantedSlots grows the buffers by doubling, and halves them when a quarter is used.
func (g *group) wantedSlots() int {
	slots := max(g.slots, 1)
	for slots < len(g.rows) {
		slots *= 2
	}
	for slots > 1 && len(g.rows) <= slots/4 {
		slots /= 2
	}
	return slots
}
