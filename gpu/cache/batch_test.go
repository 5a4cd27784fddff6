package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/mlx/mlxtest"
)

func TestCapacities(t *testing.T) {
	spec := Spec{LeastCapacity: 64}
	for n, want := range map[int]int{0: 64, 1: 64, 64: 64, 65: 96, 96: 96, 97: 128, 128: 128, 129: 192, 193: 256, 257: 384, 4096: 4096, 4097: 6144} {
		if got := spec.CapacityFor(n); got != want {
			t.Errorf("%d tokens: %d positions, want %d", n, got, want)
		}
	}
}

// The model of these tests has keys that say which sequence and position they are of.
const (
	heads   = 2
	headDim = 3
)

var spec = Spec{Layers: []Layer{{}, {Window: 5}, {Window: 70}, {Recurrent: true}, {Block: 5}, {Block: 70}}, LeastCapacity: 8}

// key is element i of the key of a sequence's position; its value is the negative.
func key(id, position, i int) float32 { return float32(id*10_000+position*10) + float32(i)/8 }

// tokens are the keys and values of positions [from, to) of a sequence, [1, heads, n, headDim].
func tokens(s *mlx.Scope, id, from, to int) kv {
	var all []float32
	for range heads {
		for p := from; p < to; p++ {
			for i := range headDim {
				all = append(all, key(id, p, i))
			}
		}
	}
	keys := s.Float32s(all, 1, heads, to-from, headDim)
	return kv{keys, s.Negative(keys)}
}

// member is a sequence of the test.
type member struct {
	id, length int
	row        *Row
}

// TestBatchKeepsEverySequence joins, decodes and takes out sequences at random, and checks after
// every step what each row can see in every layer.
func TestBatchKeepsEverySequence(t *testing.T) {
	mlxtest.Run(t, func(stream mlx.Stream) error {
		r := rand.New(rand.NewPCG(1, 2))
		batch := NewBatch(spec)
		defer batch.Free()
		var members []*member
		for id := range 40 {
			var leaving []*Row
			for len(members) > 0 && r.IntN(3) == 0 {
				i := r.IntN(len(members))
				if r.IntN(2) == 0 {
					batch.Vacate(members[i].row)
				} else {
					leaving = append(leaving, members[i].row)
				}
				members = slices.Delete(members, i, i+1)
			}
			var joining []*Sequence
			var joiners []*member
			for range r.IntN(3) {
				m := &member{id: id*4 + len(joiners), length: max(0, r.IntN(110)-20)}
				q, err := prefilled(stream, r, m)
				if err != nil {
					return err
				}
				joining, joiners = append(joining, q), append(joiners, m)
			}
			rows, err := batch.Arrange(stream, leaving, joining)
			if err != nil {
				return err
			}
			for i, m := range joiners {
				m.row = rows[i]
			}
			members = append(members, joiners...)
			for range r.IntN(12) {
				if err := decode(stream, batch, members); err != nil {
					return fmt.Errorf("turn %d: %w", id, err)
				}
				if _, err := batch.Arrange(stream, nil, nil); err != nil { // room for the next token
					return err
				}
			}
		}
		return nil
	})
}

// prefilled computes a prompt in chunks.
func prefilled(stream mlx.Stream, r *rand.Rand, m *member) (*Sequence, error) {
	q := NewSequence(spec)
	for q.Length() < m.length {
		n := min(1+r.IntN(40), m.length-q.Length())
		err := mlx.Build(stream, func(s *mlx.Scope) error {
			pass := NewPass(s, spec, nil, Chunk{q, n})
			segment := pass.Segments()[0]
			for layer, l := range spec.Layers {
				if l.Recurrent {
					advance(s, segment, layer, []int{m.id}, []int{q.Length()}, n)
					continue
				}
				chunk := tokens(s, m.id, q.Length(), q.Length()+n)
				segment.Update(layer, chunk.keys, chunk.values)
			}
			pass.Commit()
			return nil
		})
		if err != nil {
			return nil, err
		}
		if err := mlx.Eval(q.State()...); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// seen is what a segment's rows may look at in a layer: keys and values, or a state.
type seen struct {
	keys, values, visible mlx.Ref
	state                 state
}

func (o *seen) free() {
	o.keys.Free()
	o.values.Free()
	o.visible.Free()
	o.state.free()
}

// decode adds a token to every row and checks what the rows see.
func decode(stream mlx.Stream, batch *Batch, members []*member) error {
	byRow := map[*Row]*member{}
	for _, m := range members {
		byRow[m.row] = m
	}
	rows := batch.Rows()
	if len(rows) != len(members) {
		return fmt.Errorf("%d rows for %d sequences", len(rows), len(members))
	}
	var all []*seen
	var segments []Segment
	err := mlx.Build(stream, func(s *mlx.Scope) error {
		pass := NewPass(s, spec, batch)
		segments = pass.Segments()
		for _, g := range segments {
			var keys []mlx.Array
			var ids, positions []int
			for _, row := range rows[g.First : g.First+g.Tokens] {
				m := byRow[row]
				ids, positions = append(ids, m.id), append(positions, m.length)
				keys = append(keys, tokens(s, m.id, m.length, m.length+1).keys)
			}
			joined := s.Concatenate(0, keys...)
			for layer, l := range spec.Layers {
				out := &seen{}
				all = append(all, out)
				if l.Recurrent {
					out.state.set(s, advance(s, g, layer, ids, positions, 1))
					continue
				}
				k, v, mask := g.Update(layer, joined, s.Negative(joined))
				out.keys.Set(s, k)
				out.values.Set(s, v)
				if !mask.Visible.IsNull() {
					out.visible.Set(s, s.AsType(mask.Visible, mlx.Int32))
				}
			}
		}
		pass.Commit()
		return nil
	})
	if err != nil {
		return err
	}
	for i, g := range segments {
		for layer := range spec.Layers {
			out := all[i*len(spec.Layers)+layer]
			for slot, row := range rows[g.First : g.First+g.Tokens] {
				judge := check
				if spec.Layers[layer].Recurrent {
					judge = checkState
				}
				if err := judge(stream, out, slot, g.Tokens, byRow[row], spec.Layers[layer]); err != nil {
					return fmt.Errorf("layer %d: %w", layer, err)
				}
			}
			out.free()
		}
	}
	for _, m := range members {
		m.length++
		if m.row.Length() != m.length {
			return fmt.Errorf("a row of %d tokens says %d", m.length, m.row.Length())
		}
	}
	return nil
}

// check compares the positions that a row sees with those that it should.
func check(stream mlx.Stream, out *seen, slot, rows int, m *member, l Layer) error {
	keys, err := mlx.ReadFloat32s(stream, out.keys.Array())
	if err != nil {
		return err
	}
	values, err := mlx.ReadFloat32s(stream, out.values.Array())
	if err != nil {
		return err
	}
	span := out.keys.Array().Dim(2)
	visible := slices.Repeat([]int32{1}, rows*span)
	if !out.visible.Array().IsNull() {
		if visible, err = mlx.ReadInt32s(stream, out.visible.Array()); err != nil {
			return err
		}
	}
	var got []float32
	for p := range span {
		if visible[slot*span+p] == 0 {
			continue
		}
		at := ((slot*heads)*span + p) * headDim
		got = append(got, keys[at])
		for h := range heads {
			for i := range headDim {
				at := ((slot*heads+h)*span+p)*headDim + i
				if keys[at] != -values[at] || keys[at] != got[len(got)-1]+float32(i)/8 {
					return fmt.Errorf("sequence %d, place %d: key %g, value %g beside %g", m.id, p, keys[at], values[at], got[len(got)-1])
				}
			}
		}
	}
	first := 0
	if l.Window > 0 {
		first = max(0, m.length+1-l.Window)
	}
	if l.Block > 0 {
		first = m.length - m.length%l.Block
	}
	var want []float32
	for p := first; p <= m.length; p++ {
		want = append(want, key(m.id, p, 0))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("sequence %d of %d tokens sees %v, want %v", m.id, m.length, got, want)
	}
	return nil
}

// TestDecodingCopiesNoCache: a step writes its tokens in place, where rows differ in length too.
func TestDecodingCopiesNoCache(t *testing.T) {
	thread := mlx.NewThread()
	defer thread.Close()
	err := thread.Do(context.Background(), func() error {
		rt, err := mlx.Open(mlx.Options{Device: "cpu", CPUThreads: 1, CacheLimitBytes: 0})
		if err != nil {
			return err
		}
		defer rt.Close()
		const rows, capacity = 4, 4096
		big := Spec{Layers: []Layer{{}}, LeastCapacity: capacity}
		batch := NewBatch(big)
		defer batch.Free()
		r := rand.New(rand.NewPCG(3, 4))
		var joining []*Sequence
		for id := range rows {
			q := NewSequence(big)
			err := mlx.Build(rt.Stream, func(s *mlx.Scope) error {
				pass := NewPass(s, big, nil, Chunk{q, 1 + id + r.IntN(2)})
				chunk := tokens(s, id, 0, pass.chunks[0].N)
				pass.Segments()[0].Update(0, chunk.keys, chunk.values)
				pass.Commit()
				return nil
			})
			if err != nil {
				return err
			}
			joining = append(joining, q)
		}
		if _, err := batch.Arrange(rt.Stream, nil, joining); err != nil {
			return err
		}
		before, err := rt.Memory()
		if err != nil {
			return err
		}
		if err := rt.ResetPeak(); err != nil {
			return err
		}
		for range 8 {
			err := mlx.Build(rt.Stream, func(s *mlx.Scope) error {
				pass := NewPass(s, big, batch)
				chunk := room(s, tokens(s, 0, 0, 1), rows, 1)
				pass.Segments()[0].Update(0, chunk.keys, chunk.values)
				pass.Commit()
				return nil
			})
			if err != nil {
				return err
			}
			if err := mlx.Eval(arrays(batch.groups[0].buffers)...); err != nil {
				return err
			}
		}
		after, err := rt.Memory()
		if err != nil {
			return err
		}
		if one := int64(rows * heads * capacity * headDim * 4); after.Peak-before.Active >= one {
			return fmt.Errorf("steps needed %d bytes beside the cache, whose keys alone have %d", after.Peak-before.Active, one)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
