package nn

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// uploader makes device arrays in the order in which they were asked for. Goroutines read them
// ahead of the MLX thread, which converts and evaluates them. Refs come back empty and are set
// when their turn comes, so that later ones may be computed from earlier ones.
type uploader struct {
	backend  mlx.Backend
	stream   mlx.Stream
	run      func(job func() error) error
	progress func(bytes int64)

	reading  chan *upload // to the goroutines that read
	ordered  chan *upload // to the one that runs jobs
	pipeline errgroup.Group
	failed   atomic.Bool // nothing more is read

	// Of the goroutine that runs jobs, until finish has waited for it.
	refs  []*mlx.Ref
	bytes int64
	done  int64
}

// upload is arrays on their way: one that is read, or some that are computed from it or from
// earlier ones.
type upload struct {
	made    []*mlx.Ref
	counted bool // their memory is their own

	from []load.Array // joined along their first axis
	wide bool         // 16-bit floats become float32 as they are read

	inputs  []*mlx.Ref // earlier arrays that build is given, after what was read
	compute compute    // nil: what was read is what is made
	cut     cut        // how compute may be done in pieces
	bits    int        // of an element of the first input, if that is packed
	replace []*mlx.Ref // freed afterwards

	copied chan struct{} // closed when read and err are set
	read   *mlx.Ref      // what from holds, on the device; nil if from is empty
	err    error
}

// compute gives arrays for arrays.
type compute func(s *mlx.Scope, in []mlx.Array) []mlx.Array

// readers is how many arrays are read at once. Most of that is the kernel's work on fresh pages,
// which a second core halves.
const readers = 2

func newUploader(backend mlx.Backend, stream mlx.Stream, run func(job func() error) error, progress func(bytes int64)) *uploader {
	u := &uploader{
		backend: backend, stream: stream, run: run, progress: progress,
		reading: make(chan *upload), ordered: make(chan *upload, readers),
	}
	for range readers {
		u.pipeline.Go(func() error {
			r := reader{backend: backend}
			for up := range u.reading {
				if !u.failed.Load() {
					up.read, up.err = r.read(up.from, up.wide)
				}
				close(up.copied)
			}
			return nil
		})
	}
	u.pipeline.Go(func() error {
		var first error
		for up := range u.ordered {
			<-up.copied
			if first == nil {
				first = u.finishOne(up)
				u.failed.Store(first != nil)
			}
			if up.read != nil {
				u.refs = append(u.refs, up.read) // after a failure only; freed with the rest
			}
		}
		return first
	})
	return u
}

// arrays reads arrays and joins them along their first axis; floats are cast to one dtype after
// the other, as far as given.
func (u *uploader) arrays(from []load.Array, dtypes ...*mlx.DType) *mlx.Ref {
	stored := from[0].DType
	var casts []mlx.DType
	for last := stored; len(dtypes) > 0; dtypes = dtypes[1:] {
		if d := dtypes[0]; d != nil && *d != last && stored.IsFloat() {
			casts, last = append(casts, *d), *d
		}
	}
	up := &upload{made: []*mlx.Ref{{}}, counted: true, from: from}
	up.wide = u.backend.SharesMemory() && stored.IsHalf() && slices.Equal(casts, []mlx.DType{mlx.Float32})
	if !up.wide && len(casts) > 0 {
		up.cut = byRow
		up.compute = func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
			a := in[0]
			for _, dtype := range casts {
				a = s.AsType(a, dtype)
			}
			return []mlx.Array{a}
		}
	}
	u.add(up)
	return up.made[0]
}

// derive computes an array from earlier ones; counted says that it has memory of its own.
func (u *uploader) derive(counted bool, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	return u.one(&upload{counted: counted}, build)
}

// replace is derive from arrays that nothing else needs: they are freed.
func (u *uploader) replace(old []*mlx.Ref, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	return u.one(&upload{counted: true, replace: old}, build)
}

func (u *uploader) one(up *upload, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	up.made = []*mlx.Ref{{}}
	up.compute = func(s *mlx.Scope, _ []mlx.Array) []mlx.Array { return []mlx.Array{build(s)} }
	u.add(up)
	return up.made[0]
}

// eachMatrix computes an array of matrices, [n, ...], from those of an earlier one, which is freed
// if it is the last that needs it.
func (u *uploader) eachMatrix(from *mlx.Ref, last bool, matrices func(s *mlx.Scope, in mlx.Array) mlx.Array) *mlx.Ref {
	up := &upload{made: []*mlx.Ref{{}}, counted: true, inputs: []*mlx.Ref{from}, cut: byMatrix}
	if last {
		up.replace = up.inputs
	}
	up.compute = func(s *mlx.Scope, in []mlx.Array) []mlx.Array { return []mlx.Array{matrices(s, in[0])} }
	u.add(up)
	return up.made[0]
}

// dequantised replaces a quantised matrix, or experts of them, by the dense one.
func (u *uploader) dequantised(matrix *quantizedMatrix) *mlx.Ref {
	up := &upload{made: []*mlx.Ref{{}}, counted: true, inputs: matrix.refs(), replace: matrix.refs(), cut: byRow, bits: matrix.format.Bits}
	up.compute = func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		rows := matrix.view()
		rows.Weight, rows.Scales = in[0], in[1]
		if len(in) > 2 {
			rows.Biases = in[2]
		}
		return []mlx.Array{matrix.dequantize(s, rows)}
	}
	u.add(up)
	return up.made[0]
}

// newDryUploader returns an uploader that reads nothing and hands out refs that stay empty.
func newDryUploader() *uploader { return &uploader{} }

func (u *uploader) add(up *upload) {
	if u.reading == nil {
		return
	}
	up.copied = make(chan struct{})
	u.ordered <- up
	if len(up.from) > 0 {
		u.reading <- up
	} else {
		close(up.copied)
	}
}

// finish waits for the arrays and returns them, with their bytes and the first error.
func (u *uploader) finish() ([]*mlx.Ref, int64, error) {
	if u.reading == nil {
		return nil, 0, nil
	}
	close(u.reading)
	close(u.ordered)
	err := u.pipeline.Wait()
	return u.refs, u.bytes, err
}

// reader reads arrays for one goroutine, which is not the MLX thread.
type reader struct {
	backend mlx.Backend
	buffer  []byte // where the host cannot write arrays
}

// read makes one array of arrays, joined along their first axis.
func (r *reader) read(from []load.Array, wide bool) (*mlx.Ref, error) {
	dtype, scale := from[0].DType, 1
	if wide {
		dtype, scale = mlx.Float32, 2
	}
	shape := slices.Clone(from[0].Shape)
	size := scale * from[0].Size()
	for _, a := range from[1:] {
		if a.DType != from[0].DType {
			return nil, fault.New(fault.ModelLoad, "tensor %q is %s, and %q, which is joined with it, %s", from[0].Name, from[0].DType, a.Name, a.DType)
		}
		shape[0] += a.Shape[0]
		size += scale * a.Size()
	}
	data, ref, err := r.memory(size, dtype, shape)
	for at := 0; err == nil && len(from) > 0; from = from[1:] {
		end := at + scale*from[0].Size()
		err = fill(from[0], data[at:end], wide)
		at = end
	}
	if err == nil && ref == nil {
		ref, err = mlx.NewRef(data, dtype, shape...)
	}
	return ref, err
}

// memory is where an array's elements go: its own memory, or, if ref is nil, a buffer to make it from.
func (r *reader) memory(size int, dtype mlx.DType, shape []int) (data []byte, ref *mlx.Ref, err error) {
	if r.backend.SharesMemory() {
		ref, data, err = mlx.NewFresh(dtype, shape...)
		return data, ref, err
	}
	if cap(r.buffer) < size {
		r.buffer = make([]byte, size)
	}
	return r.buffer[:size], nil, nil
}

// fill reads the array; errors name it.
func fill(a load.Array, data []byte, wide bool) error {
	read := a.Fill
	if wide {
		read = a.FillWide
	}
	if err := read(data); err != nil {
		return fault.New(fault.ModelLoad, "tensor %q: %w", a.Name, err).With("tensor", a.Name)
	}
	return nil
}

func (up *upload) size() (bytes int) {
	for _, a := range up.from {
		bytes += a.Size()
	}
	return bytes
}

// finishOne sets what the upload makes.
func (u *uploader) finishOne(up *upload) error {
	if up.err != nil {
		return up.err
	}
	err := u.convert(up)
	switch {
	case err == nil && len(up.from) > 0:
		u.done += int64(up.size())
		u.progress(u.done)
		return nil
	case err == nil:
		return nil
	case len(up.from) > 0:
		return fault.New(fault.ModelLoad, "tensor %q: %w", up.from[0].Name, err)
	}
	return fault.New(fault.ModelLoad, "%w", err)
}

// convert makes the upload's arrays and frees those that they replace.
func (u *uploader) convert(up *upload) error {
	in := up.inputs
	if up.read != nil {
		in = append([]*mlx.Ref{up.read}, in...)
	}
	u.refs = append(u.refs, up.made...) // freed with the rest if this fails
	if err := u.make(up, in); err != nil {
		return err
	}
	if up.counted {
		u.bytes += sumBytes(up.made)
	}
	spent := up.replace
	u.bytes -= sumBytes(spent)
	if up.read != nil {
		spent, up.read = append([]*mlx.Ref{up.read}, spent...), nil
	}
	u.refs = slices.DeleteFunc(u.refs, func(r *mlx.Ref) bool { return slices.Contains(spent, r) })
	return release(u.backend, spent, u.run)
}

func (u *uploader) make(up *upload, in []*mlx.Ref) error {
	if up.compute == nil {
		*up.made[0], up.read = *up.read, nil
		return u.run(func() error { return nil }) // fails if the load was cancelled
	}
	rows, step := u.pieces(up, in)
	if step < rows {
		return u.computePieces(up, in, rows, step)
	}
	return u.run(func() error { return u.evaluate(up.made, up.compute, arraysOf(in)) })
}

// evaluate computes refs, which hold nothing yet, on the MLX thread.
func (u *uploader) evaluate(refs []*mlx.Ref, compute compute, in []mlx.Array) error {
	err := mlx.Build(u.stream, func(s *mlx.Scope) error {
		made := compute(s, in)
		if s.Err() != nil {
			return s.Err()
		}
		for i, r := range refs {
			if err := s.KeepIn(r, made[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return mlx.Eval(arraysOf(refs)...)
}

func arraysOf(refs []*mlx.Ref) []mlx.Array {
	arrays := make([]mlx.Array, len(refs))
	for i, r := range refs {
		arrays[i] = r.Array()
	}
	return arrays
}

func sumBytes(refs []*mlx.Ref) (bytes int64) {
	for _, r := range refs {
		bytes += r.Array().NBytes()
	}
	return bytes
}
