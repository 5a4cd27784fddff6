package nn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/nn"
)

// inPieces is the shape of experts' matrices that one job does not compute.
var inPieces = []int{3, 400, 1024}

// withJobs is a builder whose jobs are counted.
func (d *device) withJobs(c *checkpoint, policy nn.Policy) (b *nn.Builder, jobs *int) {
	jobs = new(int)
	policy.Backend = mlx.CPU
	return nn.NewBuilder(c, policy, d.rt.Stream, func(job func() error) error {
		*jobs++
		return d.do(job)
	}, func(int64, int64) {}), jobs
}

// sameBits compares evaluated arrays with what compute makes of the experts' matrices in one operation.
func (d *device) sameBits(t *testing.T, got []*mlx.Ref, compute func(s *mlx.Scope, dense mlx.Array) []mlx.Array) {
	t.Helper()
	d.run(t, func() error {
		want := make([]*mlx.Ref, len(got))
		defer func() {
			for _, r := range want {
				r.Free()
			}
		}()
		err := mlx.Build(d.rt.Stream, func(s *mlx.Scope) error {
			made := compute(s, s.FromBytes(valuesOf("m.weight", inPieces...), mlx.Float32, inPieces...))
			for i := range want {
				var err error
				if want[i], err = s.Keep(s.Contiguous(made[i])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, w := range want {
			if err := mlx.Eval(w.Array()); err != nil {
				return err
			}
			gotBytes, err := mlx.Elements(got[i].Array())
			if err != nil {
				return err
			}
			wantBytes, err := mlx.Elements(w.Array())
			if err != nil {
				return err
			}
			if g, w := got[i].Array(), w.Array(); g.DType() != w.DType() || !slices.Equal(g.Shape(), w.Shape()) || !bytes.Equal(gotBytes, wantBytes) {
				t.Errorf("array %d: %s%v differs from %s%v", i, g.DType(), g.Shape(), w.DType(), w.Shape())
			}
		}
		return nil
	})
}

// valuesOf are the bytes of an array that addValues adds.
func valuesOf(name string, shape ...int) []byte {
	c := &checkpoint{}
	c.addValues(name, shape...)
	data := make([]byte, c.arrays[0].Size())
	_ = c.arrays[0].Fill(data) // cannot fail
	return data
}

// enough fails the test if so few jobs computed the experts' matrices that one did more than it may.
func enough(t *testing.T, jobs int) {
	t.Helper()
	if least := inPieces[0] * inPieces[1] * inPieces[2] / nn.PieceElements; jobs <= least {
		t.Errorf("%d jobs, want more than %d", jobs, least)
	}
}

func TestCastsInPieces(t *testing.T) {
	d := newDevice(t)
	c := &checkpoint{config: config(t)}
	c.addValues("m.weight", inPieces...)
	half := mlx.BFloat16
	b, jobs := d.withJobs(c, nn.Policy{DType: &half})
	cast := b.Dense("m", inPieces[2], inPieces[1], inPieces[0])
	weights, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	enough(t, *jobs)
	if want := int64(2 * inPieces[0] * inPieces[1] * inPieces[2]); weights.Bytes != want {
		t.Errorf("%d bytes, want %d", weights.Bytes, want)
	}
	d.sameBits(t, []*mlx.Ref{cast}, func(s *mlx.Scope, dense mlx.Array) []mlx.Array {
		return []mlx.Array{s.AsType(dense, half)}
	})
	d.free(t, weights)
}

// TestQuantisesAndDequantisesInPieces has all modes, since their groups and scales differ.
func TestQuantisesAndDequantisesInPieces(t *testing.T) {
	d := newDevice(t)
	float32Type := mlx.Float32
	for _, format := range []load.QuantSpec{
		{GroupSize: 64, Bits: 4, Mode: mlx.Affine}, {GroupSize: 32, Bits: 3, Mode: mlx.Affine},
		{GroupSize: 32, Bits: 4, Mode: mlx.MXFP4}, {GroupSize: 16, Bits: 4, Mode: mlx.NVFP4},
	} {
		t.Run(fmt.Sprintf("%s-%d", format.Mode, format.Bits), func(t *testing.T) {
			quantise := func(s *mlx.Scope, dense mlx.Array) mlx.Quantized {
				return s.Quantize(dense, format.GroupSize, format.Bits, format.Mode)
			}
			conversion := &nn.Conversion{
				DType:  func(string) *mlx.DType { return nil },
				Format: func(string, int) *load.QuantSpec { return &format },
			}
			c := &checkpoint{config: config(t)}
			c.addValues("m.weight", inPieces...)
			b, jobs := d.withJobs(c, nn.Policy{DType: &float32Type, Conversion: conversion})
			weight, scales, biases := b.Quantised("m", inPieces[2], inPieces[1], inPieces[0])
			quantised, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			enough(t, *jobs)
			refs := []*mlx.Ref{weight, scales, biases}
			if biases == nil {
				refs = refs[:2]
			}
			d.sameBits(t, refs, func(s *mlx.Scope, dense mlx.Array) []mlx.Array {
				q := quantise(s, dense)
				return []mlx.Array{q.Weight, q.Scales, q.Biases}
			})
			d.free(t, quantised)

			c = &checkpoint{config: config(t)}
			c.addValues("m.weight", inPieces...)
			b, jobs = d.withJobs(c, nn.Policy{DType: &float32Type, Conversion: conversion, DenseWeights: true})
			dense := b.Dense("m", inPieces[2], inPieces[1], inPieces[0])
			dequantised, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			enough(t, *jobs/2)
			d.sameBits(t, []*mlx.Ref{dense}, func(s *mlx.Scope, dense mlx.Array) []mlx.Array {
				return []mlx.Array{s.AsType(s.Dequantize(quantise(s, dense)), mlx.Float32)}
			})
			d.free(t, dequantised)
		})
	}
}

func TestTransposedExpertsInPieces(t *testing.T) {
	d := newDevice(t)
	const hidden, intermediate = 1024, 400
	experts := inPieces[0]
	c := &checkpoint{config: config(t)}
	c.addValues("m.gate_up_proj", experts, hidden, 2*intermediate)
	c.addValues("m.down_proj", experts, intermediate, hidden)
	b, jobs := d.withJobs(c, nn.Policy{})
	b.TransposedGatedExperts("m", experts, hidden, intermediate)
	weights, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if *jobs < 3*experts {
		t.Errorf("%d jobs for three arrays of %d experts", *jobs, experts)
	}
	if want := int64(4 * experts * 3 * hidden * intermediate); weights.Bytes != want {
		t.Errorf("%d bytes, want %d", weights.Bytes, want)
	}
	d.free(t, weights)
}

// TestFailingPieceLeavesNothing lets the second of an array's jobs fail.
func TestFailingPieceLeavesNothing(t *testing.T) {
	d := newDevice(t)
	c := &checkpoint{config: config(t)}
	c.addValues("m.weight", inPieces...)
	half, jobs := mlx.BFloat16, 0
	b := nn.NewBuilder(c, nn.Policy{Backend: mlx.CPU, DType: &half}, d.rt.Stream, func(job func() error) error {
		if jobs++; jobs == 2 {
			return errors.New("cancelled")
		}
		return d.do(job)
	}, func(int64, int64) {})
	b.Dense("m", inPieces[2], inPieces[1], inPieces[0])
	weights, err := b.Finish()
	if err == nil || !strings.Contains(err.Error(), "cancelled") || jobs != 2 {
		t.Errorf("got %v after %d jobs", err, jobs)
	}
	d.free(t, weights)
}

// TestHalvesAreWidenedWhileTheyAreRead has a join of two arrays, and no job that casts.
func TestHalvesAreWidenedWhileTheyAreRead(t *testing.T) {
	d := newDevice(t)
	c := &checkpoint{config: config(t)}
	for i, name := range []string{"a.weight", "b.weight"} {
		c.arrays = append(c.arrays, load.Array{Name: name, DType: mlx.BFloat16, Shape: []int{1 + i, 2}, Fill: func(dst []byte) error {
			for j := range len(dst) / 2 {
				binary.LittleEndian.PutUint16(dst[2*j:], uint16(0x3f80+0x100*i+j))
			}
			return nil
		}})
	}
	float32Type := mlx.Float32
	b, _ := d.withJobs(c, nn.Policy{DType: &float32Type})
	layer := b.Parallel([]string{"a", "b"}, 2, 1, 2)
	weights, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if weights.Bytes != 24 {
		t.Errorf("%d bytes, want 24", weights.Bytes)
	}
	d.run(t, func() error {
		var kept *mlx.Ref
		err := mlx.Build(d.rt.Stream, func(s *mlx.Scope) (err error) {
			kept, err = s.Keep(layer.Forward(s, s.Float32s([]float32{1, 0, 0, 1}, 2, 2)))
			return err
		})
		if err != nil {
			return err
		}
		defer kept.Free()
		got, err := mlx.ReadFloat32s(d.rt.Stream, kept.Array())
		if want := []float32{1, 4, 4.0625, 1.0078125, 4.03125, 4.09375}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		return err
	})
	d.free(t, weights)
}
