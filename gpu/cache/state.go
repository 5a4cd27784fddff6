package cache

import "mlx-worker/gpu/mlx"

// state is what a recurrent layer has of one or more sequences: arrays whose first axis is the
// rows. A pass replaces them as a whole, by arrays of as many rows as it has, so that a step never
// copies them; there may be more rows than sequences after some have left.
type state []mlx.Ref

func (st state) empty() bool { return len(st) == 0 }

func (st state) arrays() []mlx.Array {
	var out []mlx.Array
	for i := range st {
		out = append(out, st[i].Array())
	}
	return out
}

// rows is how many rows the arrays have.
func (st state) rows() int {
	if st.empty() {
		return 0
	}
	return st[0].Array().Dim(0)
}

// set replaces the arrays. Those that are a part of a larger one are copied, so that the rest is
// freed.
func (st *state) set(s *mlx.Scope, arrays []mlx.Array) {
	if st.empty() {
		*st = make(state, len(arrays))
	}
	for i, a := range arrays {
		(*st)[i].Set(s, s.Contiguous(a))
	}
}

// get reads rows [row, row+rows) of every array. What it returns stays what it is when st is set.
func (st state) get(s *mlx.Scope, row, rows int) []mlx.Array {
	var out []mlx.Array
	for _, a := range st.arrays() {
		out = append(out, s.SliceAxis(a, 0, row, row+rows))
	}
	return out
}

// put writes part, or zeros if it is empty, to a row.
func (st state) put(s *mlx.Scope, row int, part state) {
	for i := range st {
		if s.Err() != nil {
			return
		}
		whole := st[i].Array()
		var update mlx.Array
		if part.empty() {
			update = zeroRows(s, whole, 1)
		} else {
			update = part[i].Array()
		}
		st[i].Set(s, putRows(s, whole, update, row))
	}
}

// room returns zeros shaped like st but for the rows.
func (st state) room(s *mlx.Scope, rows int) state {
	out := make(state, len(st))
	for i := range st {
		out[i].Set(s, zeroRows(s, st[i].Array(), rows))
	}
	return out
}

// grow makes room for more rows.
func (st state) grow(s *mlx.Scope, rows int) {
	for i := range st {
		a := st[i].Array()
		st[i].Set(s, putRows(s, zeroRows(s, a, rows), a, 0))
	}
}

func zeroRows(s *mlx.Scope, like mlx.Array, rows int) mlx.Array {
	shape := like.Shape()
	shape[0] = rows
	return s.Zeros(like.DType(), shape...)
}

func putRows(s *mlx.Scope, whole, part mlx.Array, row int) mlx.Array {
	start, stop := make([]int, part.NDim()), part.Shape()
	start[0], stop[0] = row, row+part.Dim(0)
	return s.SliceUpdate(whole, part, start, stop)
}

func (st *state) free() {
	for i := range *st {
		(*st)[i].Free()
	}
	*st = nil
}

// bytes is the memory of one sequence.
func (st state) bytes() int64 {
	var total int64
	for _, a := range st.arrays() {
		total += a.NBytes() / int64(a.Dim(0))
	}
	return total
}
