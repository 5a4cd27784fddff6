package cache

import "mlx-worker/gpu/mlx"

// kv is a layer's keys and values, [rows, kv_heads, positions, head_dim] each.
type kv struct{ keys, values mlx.Array }

// both applies f to keys and values.
func (a kv) both(f func(mlx.Array) mlx.Array) kv { return kv{f(a.keys), f(a.values)} }

// with applies f to keys and keys, values and values.
func (a kv) with(b kv, f func(a, b mlx.Array) mlx.Array) kv {
	return kv{f(a.keys, b.keys), f(a.values, b.values)}
}

// buffers are a layer's keys and values across steps, or its state, of one or more sequences.
//
// Position p of a sequence is at p modulo positions. Keys and values are written in place: nothing
// else may hold them while a step is evaluated. What was never written is zero, so that it is
// finite where a mask hides it.
type buffers struct {
	keys, values mlx.Ref
	state        state
}

func (b *buffers) empty() bool { return b.keys.Array().IsNull() && b.state.empty() }

func (b *buffers) kv() kv { return kv{b.keys.Array(), b.values.Array()} }

func (b *buffers) set(s *mlx.Scope, a kv) {
	b.keys.Set(s, a.keys)
	b.values.Set(s, a.values)
}

// move returns what b holds and leaves b empty.
func (b *buffers) move() buffers {
	moved := *b
	*b = buffers{}
	return moved
}

func (b *buffers) free() {
	b.keys.Free()
	b.values.Free()
	b.state.free()
}

// positionBytes is the memory of the keys and values of one position of one sequence.
func (b *buffers) positionBytes() int64 {
	if b.keys.Array().IsNull() {
		return 0
	}
	bytes := func(a mlx.Array) int64 { return a.NBytes() / int64(a.Dim(0)*a.Dim(2)) }
	return bytes(b.keys.Array()) + bytes(b.values.Array())
}

// arrays lists what is not empty.
func arrays(all []buffers) []mlx.Array {
	var out []mlx.Array
	for i := range all {
		if !all[i].keys.Array().IsNull() {
			out = append(out, all[i].keys.Array(), all[i].values.Array())
		}
		out = append(out, all[i].state.arrays()...)
	}
	return out
}

func freeAll(all []buffers) {
	for i := range all {
		all[i].free()
	}
}

// room returns zeros shaped like a but for rows and positions.
func room(s *mlx.Scope, a kv, rows, positions int) kv {
	return a.both(func(a mlx.Array) mlx.Array {
		if s.Err() != nil {
			return mlx.Array{}
		}
		return s.Zeros(a.DType(), rows, a.Dim(1), positions, a.Dim(3))
	})
}

// put writes part into a, its first row and position at row and position.
func put(s *mlx.Scope, a, part kv, row, position int) kv {
	return a.with(part, func(a, part mlx.Array) mlx.Array {
		if s.Err() != nil {
			return mlx.Array{}
		}
		return s.SliceUpdate(a, part, []int{row, 0, position, 0},
			[]int{row + part.Dim(0), part.Dim(1), position + part.Dim(2), part.Dim(3)})
	})
}

// get reads rows [row, row+rows) and positions [from, to).
func get(s *mlx.Scope, a kv, row, rows, from, to int) kv {
	return a.both(func(a mlx.Array) mlx.Array {
		if s.Err() != nil {
			return mlx.Array{}
		}
		return s.Slice(a, []int{row, 0, from, 0}, []int{row + rows, a.Dim(1), to, a.Dim(3)})
	})
}

// resized copies a's first keptRows and keptPositions into room for rows and positions.
func resized(s *mlx.Scope, a kv, rows, positions, keptRows, keptPositions int) kv {
	return put(s, room(s, a, rows, positions), get(s, a, 0, keptRows, 0, keptPositions), 0, 0)
}

// join concatenates along the positions.
func join(s *mlx.Scope, a, b kv) kv {
	return a.with(b, func(a, b mlx.Array) mlx.Array { return s.Concatenate(2, a, b) })
}
