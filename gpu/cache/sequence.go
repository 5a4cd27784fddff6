package cache

import "mlx-worker/gpu/mlx"

// Sequence is the cache of one sequence while its prompt is computed, chunk by chunk. It ends by
// joining a Batch, or by Free.
type Sequence struct {
	spec     Spec
	buffers  []buffers // by layer; a layer with a window keeps its last positions in order
	length   int       // tokens
	capacity int       // of the layers without a window
}

// NewSequence returns an empty cache.
func NewSequence(spec Spec) *Sequence {
	return &Sequence{spec: spec, buffers: make([]buffers, len(spec.Layers))}
}

// Length is the number of tokens computed.
func (q *Sequence) Length() int { return q.length }

// State returns the arrays to evaluate after a pass that had a chunk of the sequence.
func (q *Sequence) State() []mlx.Array { return arrays(q.buffers) }

// Bytes returns a function that tells the memory of a sequence of so many tokens. The cache must
// have seen a token.
func (q *Sequence) Bytes() func(tokens int) int64 {
	spec := q.spec
	perPosition := make([]int64, len(spec.Layers))
	var states int64
	for i := range perPosition {
		perPosition[i] = q.buffers[i].positionBytes()
		states += q.buffers[i].state.bytes()
	}
	return func(tokens int) int64 {
		capacity := spec.CapacityFor(tokens)
		total := states
		for i, l := range spec.Layers {
			total += perPosition[i] * int64(l.positions(capacity))
		}
		return total
	}
}

// Free drops the buffers; the cache is empty afterwards.
func (q *Sequence) Free() {
	freeAll(q.buffers)
	q.length, q.capacity = 0, 0
}

// append adds a chunk's keys and values to a layer and returns what its queries may see.
func (q *Sequence) append(s *mlx.Scope, layer int, chunk kv, capacity int) kv {
	if s.Err() != nil {
		return kv{}
	}
	n := chunk.keys.Dim(2)
	if l := q.spec.Layers[layer]; l.rolls() {
		return q.slide(s, &q.buffers[layer], chunk, l)
	}
	b := &q.buffers[layer]
	whole := b.kv()
	switch {
	case b.empty():
		whole = room(s, chunk, 1, capacity)
	case capacity > q.capacity:
		whole = resized(s, whole, 1, capacity, 1, q.length)
	}
	whole = put(s, whole, chunk, 0, q.length)
	b.set(s, whole)
	return get(s, whole, 0, 1, 0, q.length+n)
}

// slide keeps what the token after the chunk can see beside itself, and at least one position.
func (q *Sequence) slide(s *mlx.Scope, b *buffers, chunk kv, l Layer) kv {
	seen := chunk
	if !b.empty() && l.before(q.length) > 0 {
		seen = join(s, b.kv(), chunk)
	}
	if s.Err() != nil {
		return kv{}
	}
	length := seen.keys.Dim(2)
	kept := max(1, l.before(q.length+chunk.keys.Dim(2)))
	tail := get(s, seen, 0, 1, max(0, length-kept), length)
	b.set(s, tail.both(s.Contiguous)) // a copy, so that the rest is freed
	return seen
}

// settle brings the buffers into the form of a Batch: one row of capacity for the sequence and a
// token more. It evaluates.
func (q *Sequence) settle(stream mlx.Stream) error {
	capacity := q.spec.CapacityFor(q.length + 1)
	changed := false
	err := mlx.Build(stream, func(s *mlx.Scope) error {
		for i := range q.buffers {
			b := &q.buffers[i]
			if b.empty() || q.spec.Layers[i].Recurrent {
				continue
			}
			whole := b.kv()
			switch l := q.spec.Layers[i]; {
			case l.rolls():
				whole = q.ring(s, whole, l.positions(capacity))
			case capacity > q.capacity:
				whole = resized(s, whole, 1, capacity, 1, q.length)
			default:
				continue
			}
			changed = true
			b.set(s, whole)
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.capacity = capacity
	if !changed {
		return nil
	}
	return mlx.Eval(q.State()...)
}

// ring puts the last positions, which are in order, to their places modulo positions.
func (q *Sequence) ring(s *mlx.Scope, tail kv, positions int) kv {
	if s.Err() != nil {
		return kv{}
	}
	kept := tail.keys.Dim(2)
	out := room(s, tail, 1, positions)
	first := (q.length - kept) % positions
	head := min(kept, positions-first)
	out = put(s, out, get(s, tail, 0, 1, 0, head), 0, first)
	if head < kept {
		out = put(s, out, get(s, tail, 0, 1, head, kept), 0, 0)
	}
	return out
}
