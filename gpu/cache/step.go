package cache

import "mlx-worker/gpu/mlx"

// step is a group's part in a pass.
type step struct {
	group *group
	first int // row of the pass

	plans map[planKey]*plan // layers that keep the same positions share arrays
}

// planKey says which positions a layer keeps.
type planKey struct {
	positions int
	blocks    bool
}

// plan says where the rows' new tokens go in a layer, and what they see.
type plan struct {
	at     int       // position of all rows, if rows is null
	rows   mlx.Array // int32 [n], 0 to n-1
	places mlx.Array // int32 [n]
	span   int       // positions that any row sees
	mask   mlx.Mask
}

func newStep(g *group, first int) *step {
	return &step{group: g, first: first, plans: map[planKey]*plan{}}
}

// plan returns the plan for a layer that keeps so many positions.
func (st *step) plan(s *mlx.Scope, l Layer, positions int) *plan {
	key := planKey{positions, l.Block > 0}
	if p := st.plans[key]; p != nil {
		return p
	}
	rows := st.group.rows
	n := len(rows)
	places, seen := make([]int32, n), make([]int32, n)
	samePlace, sameSight := true, true
	p := &plan{}
	for i, r := range rows {
		places[i] = int32(r.length % positions)
		seen[i] = int32(l.seen(r.length, positions))
		samePlace = samePlace && places[i] == places[0]
		sameSight = sameSight && seen[i] == seen[0]
		p.span = max(p.span, int(seen[i]))
	}
	p.at = int(places[0])
	if !samePlace {
		p.places = s.Int32s(places, n)
		p.rows = s.Arange(0, float64(n), 1, mlx.Int32)
	}
	if !sameSight {
		p.mask.Counts = s.Int32s(seen, n)
		p.mask.Visible = s.Less(s.Arange(0, float64(p.span), 1, mlx.Int32), s.Reshape(p.mask.Counts, n, 1, 1, 1))
	}
	st.plans[key] = p
	return p
}

// update writes one token of every row, [rows, kv_heads, 1, head_dim].
func (st *step) update(s *mlx.Scope, layer int, l Layer, tokens kv) (seen kv, mask mlx.Mask) {
	if s.Err() != nil {
		return kv{}, mlx.Mask{}
	}
	g := st.group
	positions := l.positions(g.capacity)
	p := st.plan(s, l, positions)
	b := &g.buffers[layer]
	whole := b.kv()
	if b.empty() {
		whole = room(s, tokens, g.slots, positions)
	}
	if p.rows.IsNull() {
		whole = put(s, whole, tokens, 0, p.at)
	} else {
		whole = whole.with(tokens, func(a, tokens mlx.Array) mlx.Array { return s.ScatterRows(a, p.rows, p.places, tokens) })
	}
	b.set(s, whole)
	return get(s, whole, 0, len(g.rows), 0, p.span), p.mask
}
