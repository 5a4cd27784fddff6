package nn

import (
	"slices"

	"mlx-worker/gpu/mlx"
)

// cut says along which axis of its inputs an upload's computation may be done in pieces: the same
// part of every input gives that part of everything that is made.
type cut int

const (
	whole    cut = iota // not at all
	byRow               // by vectors of the last axis, which is not cut itself
	byMatrix            // by the first axis
)

// pieceElements bounds what one job computes on the CPU, where MLX needs 1 to 20 ns an element:
// steps of other models wait for it. A single row or matrix may be more.
const pieceElements = 1 << 20

// pieces says of how many rows the computation's inputs are, and how many of them one job computes.
// A GPU is fast enough to compute all of them.
func (u *uploader) pieces(up *upload, in []*mlx.Ref) (rows, step int) {
	if up.cut == whole || u.backend != mlx.CPU {
		return 1, 1
	}
	first := in[0].Array()
	rows = rowCount(up.cut, first)
	bits := up.bits
	if bits == 0 {
		bits = 8 * first.DType().Size()
	}
	elements := int(8 * first.NBytes() / int64(bits))
	return rows, max(1, int(float64(rows)*pieceElements/float64(elements)))
}

func rowCount(c cut, a mlx.Array) int {
	if c == byMatrix {
		return a.Dim(0)
	}
	return a.Size() / a.Dim(-1)
}

// computePieces makes the upload's arrays of step rows a job, each of which is copied into its
// place while the MLX thread does other things.
func (u *uploader) computePieces(up *upload, in []*mlx.Ref, rows, step int) error {
	lead := in[0].Array().Shape()
	lead = lead[:max(1, len(lead)-1)]
	if up.cut == byMatrix {
		lead = lead[:1]
	}
	memory := make([][]byte, len(up.made)) // of what is made, as far as it is not filled
	for from := 0; from < rows; from += step {
		piece := func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
			parts := make([]mlx.Array, len(in))
			for i, a := range in {
				if up.cut == byRow {
					a = s.Reshape(a, rows, a.Dim(-1))
				}
				parts[i] = s.SliceAxis(a, 0, from, min(from+step, rows))
			}
			return up.compute(s, parts)
		}
		if err := u.computePiece(up.made, memory, lead, func(refs []*mlx.Ref) error {
			return u.run(func() error { return u.evaluate(refs, piece, arraysOf(in)) })
		}); err != nil {
			return err
		}
	}
	return nil
}

// computePiece appends what evaluate computes to memory, the rest of made. The first time it makes
// those arrays: lead is their shape as far as it is cut, the piece has the rest of it.
func (u *uploader) computePiece(made []*mlx.Ref, memory [][]byte, lead []int, evaluate func(refs []*mlx.Ref) error) error {
	refs := make([]*mlx.Ref, len(made))
	for i := range refs {
		refs[i] = &mlx.Ref{}
	}
	defer func() {
		for _, r := range refs {
			r.Free()
		}
	}()
	if err := evaluate(refs); err != nil {
		return err
	}
	for i, r := range refs {
		piece := r.Array()
		if made[i].Array().IsNull() {
			shape := append(slices.Clone(lead), piece.Shape()[1:]...)
			array, data, err := mlx.NewFresh(piece.DType(), shape...)
			if err != nil {
				return err
			}
			*made[i], memory[i] = *array, data
		}
		elements, err := mlx.Elements(piece)
		if err != nil {
			return err
		}
		memory[i] = memory[i][copy(memory[i], elements):]
	}
	return nil
}

// releasedBytes bounds what one job frees.
const releasedBytes = 64 << 20

// release frees arrays that nothing else holds. On the CPU that gives pages back to the system,
// 0.1 ms a megabyte, and happens right here; on a GPU it is done by jobs on the MLX thread, none of
// which frees much.
func release(backend mlx.Backend, refs []*mlx.Ref, run func(job func() error) error) error {
	if backend == mlx.CPU {
		for _, r := range refs {
			r.Free()
		}
		return nil
	}
	for len(refs) > 0 {
		n := 1
		for bytes := refs[0].Array().NBytes(); n < len(refs); n++ {
			if bytes += refs[n].Array().NBytes(); bytes > releasedBytes {
				break
			}
		}
		batch := refs[:n]
		err := run(func() error {
			for _, r := range batch {
				r.Free()
			}
			return nil
		})
		if err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}
