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
// and copy them to the device ahead of the MLX thread, which converts and evaluates them. Refs
// come back empty and are set when their turn comes, so that later ones may be computed from
// earlier ones.
type uploader struct {
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

// upload is an array on its way.
type upload struct {
	ref     *mlx.Ref
	counted bool // its memory is its own
	from    []load.Array
	build   func(s *mlx.Scope, read mlx.Array) mlx.Array
	also    []*mlx.Ref // set by build too
	replace []*mlx.Ref // freed afterwards

	copied chan struct{} // closed when read and err are set
	read   *mlx.Ref      // what from holds, on the device; nil if from is empty
	err    error
}

// readers is how many arrays are read and copied at once. Most of that is the kernel's work on
// fresh pages, which a second core halves.
const readers = 2

func newUploader(stream mlx.Stream, run func(job func() error) error, progress func(bytes int64)) *uploader {
	u := &uploader{
		stream: stream, run: run, progress: progress,
		reading: make(chan *upload), ordered: make(chan *upload, readers),
	}
	for range readers {
		u.pipeline.Go(func() error {
			var buffer []byte
			for up := range u.reading {
				if !u.failed.Load() {
					buffer = up.copy(buffer)
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
	return u.add(&upload{counted: true, from: from, build: func(s *mlx.Scope, read mlx.Array) mlx.Array {
		if !from[0].DType.IsFloat() {
			return read
		}
		for _, dtype := range dtypes {
			read = cast(s, read, dtype)
		}
		return read
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

// newDryUploader returns an uploader that reads nothing and hands out refs that stay empty.
func newDryUploader() *uploader { return &uploader{} }

func (u *uploader) add(up *upload) *mlx.Ref {
	if u.reading == nil {
		return &mlx.Ref{}
	}
	up.ref, up.copied = &mlx.Ref{}, make(chan struct{})
	u.ordered <- up
	if len(up.from) > 0 {
		u.reading <- up
	} else {
		close(up.copied)
	}
	return up.ref
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

// copy reads the arrays into buffer, grown if need be, and copies them to the device as one.
func (up *upload) copy(buffer []byte) []byte {
	size := up.size()
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	buffer = buffer[:cap(buffer)]
	at := 0
	for _, a := range up.from {
		data := buffer[at:][:a.Size()]
		if up.err = fill(a, data); up.err != nil {
			return buffer
		}
		at += len(data)
	}
	shape := slices.Clone(up.from[0].Shape)
	for _, a := range up.from[1:] {
		shape[0] += a.Shape[0]
	}
	up.read, up.err = mlx.NewRef(buffer[:size], up.from[0].DType, shape...)
	return buffer
}

// fill reads the array; errors name it.
func fill(a load.Array, data []byte) error {
	if err := a.Fill(data); err != nil {
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

// finishOne sets the upload's ref on the MLX thread.
func (u *uploader) finishOne(up *upload) error {
	if up.err != nil {
		return up.err
	}
	err := u.run(func() error { return u.convert(up) })
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

func (u *uploader) convert(up *upload) error {
	made := append([]*mlx.Ref{up.ref}, up.also...)
	u.refs = append(u.refs, made...) // freed with the rest if this fails
	err := mlx.Build(u.stream, func(s *mlx.Scope) error {
		var read mlx.Array
		if up.read != nil {
			read = up.read.Array()
		}
		return s.KeepIn(up.ref, up.build(s, read))
	})
	if err != nil {
		return err
	}
	for _, r := range made { // parts of one operation are computed with the first
		if err := mlx.Eval(r.Array()); err != nil {
			return err
		}
		if up.counted {
			u.bytes += r.Array().NBytes()
		}
	}
	up.read.Free()
	up.read = nil
	for _, old := range up.replace {
		u.bytes -= old.Array().NBytes()
		old.Free()
	}
	u.refs = slices.DeleteFunc(u.refs, func(r *mlx.Ref) bool { return slices.Contains(up.replace, r) })
	return nil
}
