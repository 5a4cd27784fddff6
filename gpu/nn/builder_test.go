package nn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// checkpoint holds arrays in memory.
type checkpoint struct {
	config *load.Config
	arrays []load.Array
}

func (c *checkpoint) Config() *load.Config     { return c.config }
func (c *checkpoint) TotalBytes() int64        { return 1 }
func (c *checkpoint) Arrays(bool) []load.Array { return c.arrays }
func (c *checkpoint) Close() error             { return nil }

// add appends a float32 array whose elements count up from first.
func (c *checkpoint) add(name string, first float32, shape ...int) {
	a := load.Array{Name: name, DType: mlx.Float32, Shape: shape}
	a.Fill = func(dst []byte) error {
		for i := range len(dst) / 4 {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(first+float32(i)))
		}
		return nil
	}
	c.arrays = append(c.arrays, a)
}

// device is an MLX thread with a CPU runtime.
type device struct {
	thread *mlx.Thread
	rt     *mlx.Runtime
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{thread: mlx.NewThread()}
	d.run(t, func() (err error) {
		d.rt, err = mlx.Open(mlx.Options{Device: "cpu", CPUThreads: 1, CacheLimitBytes: 0})
		return err
	})
	t.Cleanup(func() {
		d.run(t, d.rt.Close)
		d.thread.Close()
	})
	return d
}

func (d *device) do(job func() error) error { return d.thread.Do(context.Background(), job) }

func (d *device) run(t *testing.T, job func() error) {
	t.Helper()
	if err := d.do(job); err != nil {
		t.Fatal(err)
	}
}

func (d *device) builder(c *checkpoint, progress func(done, total int64)) *nn.Builder {
	return nn.NewBuilder(c, nn.Policy{Backend: mlx.CPU}, d.rt.Stream, d.do, progress)
}

// free releases the weights and checks that no memory is left.
func (d *device) free(t *testing.T, w *nn.Weights) {
	t.Helper()
	d.run(t, func() error {
		if err := w.Free(func(job func() error) error { return job() }); err != nil {
			return err
		}
		m, err := d.rt.Memory()
		if m.Active != 0 {
			t.Errorf("%d bytes are left", m.Active)
		}
		return err
	})
}

func config(t *testing.T) *load.Config {
	t.Helper()
	c, err := load.ParseConfig([]byte(`{"model_type":"test"}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParallelProjectionsAreSideBySide(t *testing.T) {
	d := newDevice(t)
	c := &checkpoint{config: config(t)}
	c.add("a.weight", 0, 1, 2) // [[0 1]]
	c.add("b.weight", 2, 2, 2) // [[2 3] [4 5]]
	var last int64
	b := d.builder(c, func(done, total int64) {
		if done <= last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	})
	layer := b.Parallel([]string{"a", "b"}, 2, 1, 2)
	weights, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if weights.Parameters != 6 || weights.Bytes != 24 || last != 24 {
		t.Errorf("%d parameters, %d bytes, progress %d; want 6, 24, 24", weights.Parameters, weights.Bytes, last)
	}
	var got []float32
	d.run(t, func() error {
		var kept *mlx.Ref
		err := mlx.Build(d.rt.Stream, func(s *mlx.Scope) (err error) {
			kept, err = s.Keep(layer.Forward(s, s.Float32s([]float32{1, 10}, 1, 2)))
			return err
		})
		if err != nil {
			return err
		}
		defer kept.Free()
		got, err = mlx.ReadFloat32s(d.rt.Stream, kept.Array())
		return err
	})
	if len(got) != 3 || got[0] != 10 || got[1] != 32 || got[2] != 54 {
		t.Errorf("got %v, want [10 32 54]", got)
	}
	d.free(t, weights)
}

func TestFailedReadNamesItsTensorAndLeavesNothing(t *testing.T) {
	d := newDevice(t)
	c := &checkpoint{config: config(t)}
	c.add("a.weight", 0, 4, 4)
	c.add("b.weight", 0, 4, 4)
	c.add("c.weight", 0, 4, 4)
	c.arrays[1].Fill = func([]byte) error { return errors.New("the disk is gone") }
	var read atomic.Int32
	paths := []string{"a", "b", "c"}
	for i := range 100 { // far more than can be under way when b fails
		path := fmt.Sprintf("later%d", i)
		c.add(path+".weight", 0, 4, 4)
		fill := c.arrays[len(c.arrays)-1].Fill
		c.arrays[len(c.arrays)-1].Fill = func(dst []byte) error {
			read.Add(1)
			return fill(dst)
		}
		paths = append(paths, path)
	}
	b := d.builder(c, func(int64, int64) {})
	for _, path := range paths {
		b.Linear(path, 4, 4)
	}
	weights, err := b.Finish()
	if err == nil || !strings.Contains(err.Error(), `"b.weight"`) || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v, want an error that names b.weight", err)
	}
	if n := read.Load(); n == 100 {
		t.Error("everything was read after the failure")
	}
	d.free(t, weights)
}

func TestMissingAndUnusedArraysAreListed(t *testing.T) {
	d := newDevice(t)
	for name, test := range map[string]struct {
		paths []string
		says  string
	}{
		"missing": {[]string{"a", "b", "x", "y"}, "2 tensors are missing: x.weight, y.weight"},
		"unused":  {[]string{"a"}, "1 tensors do not belong to a test model: b.weight"},
	} {
		c := &checkpoint{config: config(t)}
		c.add("a.weight", 0, 2, 2)
		c.add("b.weight", 0, 2, 2)
		b := d.builder(c, func(int64, int64) {})
		for _, path := range test.paths {
			b.Linear(path, 2, 2)
		}
		weights, err := b.Finish()
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want %q", name, err, test.says)
		}
		d.free(t, weights)
	}
}
