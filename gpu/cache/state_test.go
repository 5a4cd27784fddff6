package cache

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

// The recurrent layers of these tests keep the last two tokens, [rows, 2, 1], and the sum of all,
// [rows, 1].
const kept = 2

// number is what a recurrent layer sees of a sequence's position.
func number(id, position int) float32 { return float32(id + position + 1) }

// advance extends the state of a segment by n tokens of each row, of which the first are at
// positions. It returns what the state was, zeros if there was none.
func advance(s *mlx.Scope, g Segment, layer int, ids, positions []int, n int) []mlx.Array {
	rows := len(ids)
	before := g.State(layer)
	if before == nil {
		before = []mlx.Array{s.Zeros(mlx.Float32, rows, kept, 1), s.Zeros(mlx.Float32, rows, 1)}
	}
	var numbers []float32
	for i, id := range ids {
		for p := range n {
			numbers = append(numbers, number(id, positions[i]+p))
		}
	}
	all := s.Concatenate(1, before[0], s.Float32s(numbers, rows, n, 1))
	g.SetState(layer, s.SliceAxis(all, 1, n, n+kept), s.Add(before[1], s.Sum(s.Float32s(numbers, rows, n, 1), 1, false)))
	return before
}

// checkState compares a row's state before a step with what its tokens make.
func checkState(stream mlx.Stream, out *seen, slot, rows int, m *member, _ Layer) error {
	var got [2][]float32
	for i := range out.state {
		if have := out.state[i].Array().Dim(0); have != rows {
			return fmt.Errorf("a state of %d rows for %d", have, rows)
		}
		read, err := mlx.ReadFloat32s(stream, out.state[i].Array())
		if err != nil {
			return err
		}
		each := len(read) / rows
		got[i] = read[slot*each : (slot+1)*each]
	}
	var last [kept]float32
	var sum float32
	for p := range m.length {
		copy(last[:], last[1:])
		last[kept-1] = number(m.id, p)
		sum += number(m.id, p)
	}
	if !slices.Equal(got[0], last[:]) || got[1][0] != sum {
		return fmt.Errorf("sequence %d of %d tokens has state %v, want %v and %g", m.id, m.length, got, last, sum)
	}
	return nil
}

// TestStatesAloneAreOneGroup: sequences of any length decode together, and need no new room.
func TestStatesAloneAreOneGroup(t *testing.T) {
	recurrent := Spec{Layers: []Layer{{Recurrent: true}}, LeastCapacity: 8}
	mlxtest.Run(t, func(stream mlx.Stream) error {
		batch := NewBatch(recurrent)
		defer batch.Free()
		members, err := joined(stream, recurrent, batch, 0, 1, 30)
		if err != nil {
			return err
		}
		for range 20 {
			var before state
			err := mlx.Build(stream, func(s *mlx.Scope) error {
				pass := NewPass(s, recurrent, batch)
				if n := len(pass.Segments()); n != 1 {
					return fmt.Errorf("%d segments", n)
				}
				var ids, positions []int
				for _, m := range members {
					ids, positions = append(ids, m.id), append(positions, m.length)
				}
				before.set(s, advance(s, pass.Segments()[0], 0, ids, positions, 1))
				pass.Commit()
				return nil
			})
			if err != nil {
				return err
			}
			for slot, m := range members {
				if err := checkState(stream, &seen{state: before}, slot, len(members), m, Layer{}); err != nil {
					return err
				}
				m.length++
			}
			before.free()
			if _, err := batch.Arrange(stream, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// joined makes sequences of so many tokens in chunks and lets them join.
func joined(stream mlx.Stream, spec Spec, batch *Batch, lengths ...int) (members []*member, err error) {
	var joining []*Sequence
	for id, length := range lengths {
		q := NewSequence(spec)
		for q.Length() < length {
			n := min(7, length-q.Length())
			err := mlx.Build(stream, func(s *mlx.Scope) error {
				pass := NewPass(s, spec, nil, Chunk{q, n})
				advance(s, pass.Segments()[0], 0, []int{id}, []int{q.Length()}, n)
				pass.Commit()
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		joining = append(joining, q)
		members = append(members, &member{id: id, length: length})
	}
	rows, err := batch.Arrange(stream, nil, joining)
	for i, m := range members[:len(rows)] {
		m.row = rows[i]
	}
	return members, err
}

// TestBytesCountStates: a state's memory does not depend on the length.
func TestBytesCountStates(t *testing.T) {
	mlxtest.Run(t, func(stream mlx.Stream) error {
		mixed := Spec{Layers: []Layer{{Recurrent: true}, {}}, LeastCapacity: 8}
		q := NewSequence(mixed)
		defer q.Free()
		err := mlx.Build(stream, func(s *mlx.Scope) error {
			pass := NewPass(s, mixed, nil, Chunk{q, 1})
			advance(s, pass.Segments()[0], 0, []int{1}, []int{0}, 1)
			chunk := tokens(s, 1, 0, 1)
			pass.Segments()[0].Update(1, chunk.keys, chunk.values)
			pass.Commit()
			return nil
		})
		if err != nil {
			return err
		}
		for n, positions := range map[int]int64{1: 8, 9: 12, 100: 128} {
			if got, want := q.Bytes()(n), 4*(kept+1)+2*4*heads*headDim*positions; got != want {
				return fmt.Errorf("%d tokens: %d bytes, want %d", n, got, want)
			}
		}
		return nil
	})
}

// TestArrivalWithoutTokensHasNoState: what takes the place of a row sees nothing of it, where the
// group is full and where rows at the end have left.
func TestArrivalWithoutTokensHasNoState(t *testing.T) {
	recurrent := Spec{Layers: []Layer{{Recurrent: true}}, LeastCapacity: 8}
	mlxtest.Run(t, func(stream mlx.Stream) error {
		batch := NewBatch(recurrent)
		defer batch.Free()
		members, err := joined(stream, recurrent, batch, 5, 6, 7, 8)
		if err != nil {
			return err
		}
		for _, leaving := range [][]*Row{{members[1].row}, {members[2].row, members[3].row}} {
			rows, err := batch.Arrange(stream, leaving, []*Sequence{NewSequence(recurrent)})
			if err != nil {
				return err
			}
			for _, a := range batch.groups[0].buffers[0].state.arrays() {
				got, err := mlx.ReadFloat32s(stream, a)
				if err != nil {
					return err
				}
				each := len(got) / a.Dim(0)
				if row := got[rows[0].slot*each:][:each]; slices.ContainsFunc(row, func(v float32) bool { return v != 0 }) {
					return fmt.Errorf("a row without tokens has %v", row)
				}
			}
		}
		return nil
	})
}

// TestArrivalsAreWrittenInPlace: a sequence that takes the place of another copies no other's state.
func TestArrivalsAreWrittenInPlace(t *testing.T) {
	recurrent := Spec{Layers: []Layer{{Recurrent: true}}, LeastCapacity: 8}
	const rows, size = 8, 1 << 16
	thread := mlx.NewThread()
	defer thread.Close()
	err := thread.Do(context.Background(), func() error {
		rt, err := mlx.Open(mlx.Options{Device: "cpu", CPUThreads: 1, CacheLimitBytes: 0})
		if err != nil {
			return err
		}
		defer rt.Close()
		one := func() (*Sequence, error) {
			q := NewSequence(recurrent)
			err := mlx.Build(rt.Stream, func(s *mlx.Scope) error {
				pass := NewPass(s, recurrent, nil, Chunk{q, 1})
				pass.Segments()[0].SetState(0, s.Contiguous(s.Zeros(mlx.Float32, 1, size)))
				pass.Commit()
				return nil
			})
			if err != nil {
				return nil, err
			}
			return q, mlx.Eval(q.State()...)
		}
		batch := NewBatch(recurrent)
		defer batch.Free()
		var joining []*Sequence
		for range rows {
			q, err := one()
			if err != nil {
				return err
			}
			joining = append(joining, q)
		}
		if _, err := batch.Arrange(rt.Stream, nil, joining); err != nil {
			return err
		}
		q, err := one()
		if err != nil {
			return err
		}
		before, err := rt.Memory()
		if err != nil {
			return err
		}
		if err := rt.ResetPeak(); err != nil {
			return err
		}
		if _, err := batch.Arrange(rt.Stream, []*Row{batch.Rows()[3]}, []*Sequence{q}); err != nil {
			return err
		}
		after, err := rt.Memory()
		if err != nil {
			return err
		}
		if after.Peak-before.Active >= size*4 {
			return fmt.Errorf("joining needed %d bytes beside the states", after.Peak-before.Active)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
