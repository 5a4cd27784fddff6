package nn

import (
	"slices"

	"golang.org/x/sync/errgroup"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// uploader makes device arrays in the order in which they were asked for. While one is copied
// and converted on the MLX thread, the next one is read on a goroutine. Refs come back empty
// and are set when their turn comes, so that later ones may be computed from earlier ones.
type uploader struct {
	stream   mlx.Stream
	run      func(job func() error) error
	progress func(bytes int64)

	reading  chan *upload // to the goroutine that reads
	pipeline errgroup.Group

	// Of the goroutine that runs jobs, until finish has waited for it.
	refs  []*mlx.Ref
	bytes int64
	done  int64
}

// upload is an array on its way.
type upload struct {
	ref     *mlx.Ref
	counted bool // its memory is its own
	from    []load.Array
	build   func(s *mlx.Scope, read mlx.Array) mlx.Array
	replace []*mlx.Ref // freed afterwards

	buffer []byte
	size   int
	err    error // of reading
}

func newUploader(stream mlx.Stream, run func(job func() error) error, progress func(bytes int64)) *uploader {
	u := &uploader{stream: stream, run: run, progress: progress, reading: make(chan *upload)}
	const buffers = 2 // one being read, one being copied
	free := make(chan []byte, buffers)
	for range buffers {
		free <- nil
	}
	copying := make(chan *upload)
	u.pipeline.Go(func() error {
		defer close(copying)
		for up := range u.reading {
			if len(up.from) > 0 {
				up.fill(<-free)
			}
			copying <- up
		}
		return nil
	})
	u.pipeline.Go(func() error {
		var first error
		for up := range copying {
			if first == nil {
				first = u.finishOne(up)
			}
			if up.buffer != nil {
				free <- up.buffer
			}
		}
		return first
	})
	return u
}

// arrays reads arrays and joins them along their first axis; dtype, if given, is that of floats.
func (u *uploader) arrays(dtype *mlx.DType, from []load.Array) *mlx.Ref {
	return u.add(&upload{counted: true, from: from, build: func(s *mlx.Scope, read mlx.Array) mlx.Array {
		if dtype == nil || !from[0].DType.IsFloat() {
			return read
		}
		return s.AsType(read, *dtype)
	}})
}

// derive computes an array from earlier ones; counted says that it has memory of its own.
func (u *uploader) derive(counted bool, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	return u.add(&upload{counted: counted, build: func(s *mlx.Scope, _ mlx.Array) mlx.Array { return build(s) }})
}

// replace is derive from arrays that nothing else needs: they are freed.
func (u *uploader) replace(old []*mlx.Ref, build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	return u.add(&upload{counted: true, replace: old, build: func(s *mlx.Scope, _ mlx.Array) mlx.Array { return build(s) }})
}

func (u *uploader) add(up *upload) *mlx.Ref {
	up.ref = &mlx.Ref{}
	u.reading <- up
	return up.ref
}

// finish waits for the arrays and returns them, with their bytes and the first error.
func (u *uploader) finish() ([]*mlx.Ref, int64, error) {
	close(u.reading)
	err := u.pipeline.Wait()
	return u.refs, u.bytes, err
}

// fill reads the arrays into buffer, grown if need be.
func (up *upload) fill(buffer []byte) {
	for _, a := range up.from {
		up.size += a.Size()
	}
	if cap(buffer) < up.size {
		buffer = make([]byte, up.size)
	}
	up.buffer = buffer[:cap(buffer)]
	at := 0
	for _, a := range up.from {
		if up.err == nil {
			up.err = a.Fill(up.buffer[at:][:a.Size()])
		}
		at += a.Size()
	}
}

func (u *uploader) finishOne(up *upload) error {
	if up.err != nil {
		return up.err
	}
	err := u.run(func() error {
		err := mlx.Build(u.stream, func(s *mlx.Scope) error {
			var read mlx.Array
			if len(up.from) > 0 {
				read = s.FromBytes(up.buffer[:up.size], up.from[0].DType, up.shape()...)
			}
			return s.KeepIn(up.ref, up.build(s, read))
		})
		if err != nil {
			return err
		}
		u.refs = append(u.refs, up.ref)
		if err := mlx.Eval(up.ref.Array()); err != nil {
			return err
		}
		if up.counted {
			u.bytes += up.ref.Array().NBytes()
		}
		for _, old := range up.replace {
			u.bytes -= old.Array().NBytes()
			old.Free()
		}
		u.refs = slices.DeleteFunc(u.refs, func(r *mlx.Ref) bool { return slices.Contains(up.replace, r) })
		return nil
	})
	if err != nil {
		if len(up.from) > 0 {
			return fault.New(fault.ModelLoad, "tensor %q: %w", up.from[0].Name, err)
		}
		return fault.New(fault.ModelLoad, "%w", err)
	}
	u.done += int64(up.size)
	u.progress(u.done)
	return nil
}

// shape is that of the joined arrays.
func (up *upload) shape() []int {
	shape := slices.Clone(up.from[0].Shape)
	for _, a := range up.from[1:] {
		shape[0] += a.Shape[0]
	}
	return shape
}
