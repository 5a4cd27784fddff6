package cache

import "mlx-worker/gpu/mlx"

// Pass is one forward pass over [1, T] tokens: one of every row of a batch, in the batch's order,
// then chunks of prompts. Layers update their caches through it, each once and in order; Commit
// ends it.
type Pass struct {
	scope  *mlx.Scope
	spec   Spec
	groups []*step
	chunks []Chunk

	rows      int
	segments  []Segment
	positions mlx.Array // int32 [rows], if they differ
	masks     map[maskKey]mlx.Mask
	seen      map[seenKey]seenBy
}

// seenKey names a segment's part of a layer.
type seenKey struct{ first, layer int }

// seenBy is what Segment.Update returned.
type seenBy struct {
	keys, values mlx.Array
	mask         mlx.Mask
}

// maskKey names a chunk's mask: layers of one window share it.
type maskKey struct {
	sequence *Sequence
	layer    Layer
}

// Chunk is the next N tokens of a sequence's prompt.
type Chunk struct {
	Sequence *Sequence
	N        int
}

// NewPass begins a pass over the rows of batch, which may be nil, and over chunks. All rows have
// room for a token (see Batch.Arrange).
func NewPass(s *mlx.Scope, spec Spec, batch *Batch, chunks ...Chunk) *Pass {
	p := &Pass{scope: s, spec: spec, chunks: chunks, masks: map[maskKey]mlx.Mask{}, seen: map[seenKey]seenBy{}}
	if batch != nil {
		for _, g := range batch.groups {
			p.groups = append(p.groups, newStep(g, p.rows))
			p.rows += len(g.rows)
		}
		p.positions = p.rowPositions()
	}
	p.segments = p.split()
	return p
}

// Rows is the number of decoding rows.
func (p *Pass) Rows() int { return p.rows }

// Chunks are the chunks of prompts, in the order of their tokens.
func (p *Pass) Chunks() []Chunk { return p.chunks }

// Positions returns the positions of the rows' tokens, int32 [Rows], or, if they are all equal, a
// null array and that position.
func (p *Pass) Positions() (each mlx.Array, all int) {
	if p.rows == 0 {
		return mlx.Array{}, 0
	}
	return p.positions, p.groups[0].group.rows[0].length
}

// RowPositions returns the position of every row's token.
func (p *Pass) RowPositions() []int {
	var all []int
	for _, st := range p.groups {
		for _, r := range st.group.rows {
			all = append(all, r.length)
		}
	}
	return all
}

// TokenPositions returns the position of every token of the pass, int32 [T].
func (p *Pass) TokenPositions() mlx.Array {
	var all []int32
	for _, position := range p.RowPositions() {
		all = append(all, int32(position))
	}
	for _, c := range p.chunks {
		for i := range c.N {
			all = append(all, int32(c.Sequence.length+i))
		}
	}
	return p.scope.Int32s(all, len(all))
}

func (p *Pass) rowPositions() mlx.Array {
	var all []int32
	equal := true
	for _, position := range p.RowPositions() {
		all = append(all, int32(position))
		equal = equal && all[0] == int32(position)
	}
	if equal {
		return mlx.Array{}
	}
	return p.scope.Int32s(all, len(all))
}

// Segment is a part of the pass whose tokens are alike: the rows of one capacity, of a token each,
// or one chunk of a sequence. Heads of attention are [rows, heads, 1, head_dim] and [1, heads, n,
// head_dim].
type Segment struct {
	First, Tokens int  // its place in the pass's T tokens
	Decode        bool // rows of one token each

	pass  *Pass
	step  *step
	chunk Chunk
}

// Segments lists the parts in the order of their tokens.
func (p *Pass) Segments() []Segment { return p.segments }

func (p *Pass) split() []Segment {
	var out []Segment
	for _, st := range p.groups {
		out = append(out, Segment{First: st.first, Tokens: len(st.group.rows), Decode: true, pass: p, step: st})
	}
	first := p.rows
	for _, c := range p.chunks {
		out = append(out, Segment{First: first, Tokens: c.N, pass: p, chunk: c})
		first += c.N
	}
	return out
}

// Update appends keys and values, [rows or 1, kv_heads, n, head_dim], to a layer's cache. It
// returns all that the segment's queries may see, as arrays of the pass's scope, and the mask.
func (g Segment) Update(layer int, keys, values mlx.Array) (allKeys, allValues mlx.Array, mask mlx.Mask) {
	var seen kv
	if g.Decode {
		seen, mask = g.step.update(g.pass.scope, layer, g.pass.spec.Layers[layer], kv{keys, values})
	} else {
		q := g.chunk.Sequence
		seen = q.append(g.pass.scope, layer, kv{keys, values}, q.spec.CapacityFor(q.length+g.chunk.N+1))
		mask = g.pass.chunkMask(g.chunk, g.pass.spec.Layers[layer])
	}
	g.pass.seen[seenKey{g.First, layer}] = seenBy{seen.keys, seen.values, mask}
	return seen.keys, seen.values, mask
}

// Seen returns what Update has returned for a layer in this pass, for layers that share its cache.
func (g Segment) Seen(layer int) (allKeys, allValues mlx.Array, mask mlx.Mask) {
	s := g.pass.seen[seenKey{g.First, layer}]
	return s.keys, s.values, s.mask
}

// State returns what a recurrent layer keeps of the segment's rows, arrays of [rows or 1, ...], or
// nil if it keeps nothing of any row yet. A row without a token among others has zeros.
func (g Segment) State(layer int) []mlx.Array {
	st, rows := g.state(layer)
	return st.get(g.pass.scope, 0, rows)
}

// SetState replaces what a recurrent layer keeps of the segment's rows, by arrays of the shapes
// that it always has.
func (g Segment) SetState(layer int, arrays ...mlx.Array) {
	st, _ := g.state(layer)
	st.set(g.pass.scope, arrays)
}

func (g Segment) state(layer int) (st *state, rows int) {
	if g.Decode {
		return &g.step.group.buffers[layer].state, g.Tokens
	}
	return &g.chunk.Sequence.buffers[layer].state, 1
}

// Commit counts the pass's tokens as cached, after the pass was built.
func (p *Pass) Commit() {
	for _, st := range p.groups {
		for _, r := range st.group.rows {
			r.length++
		}
	}
	for _, c := range p.chunks {
		c.Sequence.length += c.N
		c.Sequence.capacity = p.spec.CapacityFor(c.Sequence.length + 1)
	}
}

func (p *Pass) chunkMask(c Chunk, l Layer) mlx.Mask {
	key := maskKey{c.Sequence, l}
	mask, built := p.masks[key]
	if !built {
		mask = newChunkMask(p.scope, l, c.Sequence.length, c.N)
		p.masks[key] = mask
	}
	return mask
}

// newChunkMask is for n queries after offset positions, of which those are kept that the first
// query sees.
func newChunkMask(s *mlx.Scope, l Layer, offset, n int) mlx.Mask {
	before := l.before(offset)
	if n == 1 { // what is kept is what it sees
		return mlx.Mask{}
	}
	if !l.rolls() || before+n <= l.Window+l.Block {
		return mlx.Mask{Causal: true}
	}
	queries := s.Reshape(s.Arange(float64(before), float64(before+n), 1, mlx.Int32), n, 1)
	keys := s.Arange(0, float64(before+n), 1, mlx.Int32)
	number := func(v int) mlx.Array { return s.Int32s([]int32{int32(v)}, 1) }
	distance := s.Subtract(queries, keys)
	notLater := s.GreaterEqual(distance, number(0))
	if l.Block > 0 { // the first key is the first of a block
		sameBlock := s.GreaterEqual(s.FloorDivide(keys, number(l.Block)), s.FloorDivide(queries, number(l.Block)))
		return mlx.Mask{Visible: s.LogicalAnd(notLater, sameBlock)}
	}
	inWindow := s.Less(distance, number(l.Window))
	return mlx.Mask{Visible: s.LogicalAnd(notLater, inWindow), Window: l.Window}
}
