package mlx_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"mlx-worker/gpu/mlx"
)

// TestFreshArraysAreWhatTheHostWrote fills arrays of every dtype and lets MLX read them.
func TestFreshArraysAreWhatTheHostWrote(t *testing.T) {
	dtypes := []mlx.DType{
		mlx.Bool, mlx.Uint8, mlx.Uint32, mlx.Int32, mlx.Int64, mlx.Float16, mlx.Float32, mlx.BFloat16,
	}
	for _, dtype := range dtypes {
		for _, shape := range [][]int{{}, {1}, {7}, {3, 5}, {2, 1, 3}} {
			ref, data, err := mlx.NewFresh(dtype, shape...)
			if err != nil {
				t.Fatal(err)
			}
			elements := 1
			for _, d := range shape {
				elements *= d
			}
			if len(data) != elements*dtype.Size() || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%8 != 0 {
				t.Errorf("%s%v: %d bytes at %p", dtype, shape, len(data), data)
			}
			clear(data)
			last := data[len(data)-dtype.Size():]
			switch dtype { // 1
			case mlx.Float16:
				binary.LittleEndian.PutUint16(last, 0x3c00)
			case mlx.BFloat16:
				binary.LittleEndian.PutUint16(last, 0x3f80)
			case mlx.Float32:
				binary.LittleEndian.PutUint32(last, math.Float32bits(1))
			default:
				last[0] = 1
			}
			onThread(t, func() error {
				defer ref.Free()
				if got := ref.Array(); got.DType() != dtype || fmt.Sprint(got.Shape()) != fmt.Sprint(shape) {
					return fmt.Errorf("a %s%v became %s%v", dtype, shape, got.DType(), got.Shape())
				}
				values, err := mlx.ReadFloat32s(rt.Stream, ref.Array())
				if err != nil {
					return err
				}
				for i, v := range values {
					if isLast := i == elements-1; (v == 1) != isLast || (v == 0) == isLast {
						return fmt.Errorf("%s%v: element %d is %g", dtype, shape, i, v)
					}
				}
				return nil
			})
		}
	}
}

// TestFreshMemoryCounts compares MLX's counter with an array that MLX makes by itself.
func TestFreshMemoryCounts(t *testing.T) {
	const elements = 1 << 18
	onThread(t, func() error {
		start, err := rt.Memory()
		if err != nil {
			return err
		}
		copied, err := mlx.NewRef(make([]byte, 4*elements), mlx.Float32, elements)
		if err != nil {
			return err
		}
		withCopy, err := rt.Memory()
		if err != nil {
			return err
		}
		copied.Free()
		fresh, _, err := mlx.NewFresh(mlx.Float32, elements)
		if err != nil {
			return err
		}
		withFresh, err := rt.Memory()
		if err != nil {
			return err
		}
		fresh.Free()
		end, err := rt.Memory()
		if err != nil {
			return err
		}
		if withFresh.Active != withCopy.Active || withFresh.Active < start.Active+4*elements || end.Active != start.Active {
			return fmt.Errorf("%d bytes before, %d with a copied array, %d with a fresh one, %d after",
				start.Active, withCopy.Active, withFresh.Active, end.Active)
		}
		return nil
	})
}

func TestFreshRefusesWhatCannotBe(t *testing.T) {
	for shape, says := range map[*[]int]string{
		{0}: "no elements", {4, 0, 2}: "no elements", {-1}: "not in 0", {1 << 30, 1 << 30, 1 << 30}: "too large",
	} {
		if ref, _, err := mlx.NewFresh(mlx.Float32, *shape...); err == nil || !strings.Contains(err.Error(), says) {
			ref.Free()
			t.Errorf("%v: got %v, want %q", *shape, err, says)
		}
	}
	if ref, _, err := mlx.NewFresh(mlx.Float32, 1<<30, 1<<28); err == nil { // an exabyte
		ref.Free()
		t.Error("an exabyte was given")
	}
}

func TestElementsAreOfEvaluatedDenseArrays(t *testing.T) {
	onThread(t, func() error {
		s := mlx.NewScope(rt.Stream)
		defer s.Close()
		a := s.Int32s([]int32{1, 2, 3, 4, 5, 6}, 2, 3)
		rows, columns, lazy := s.SliceAxis(a, 0, 1, 2), s.Transpose(a, 1, 0), s.Add(a, a)
		if err := s.Err(); err != nil {
			return err
		}
		if err := mlx.Eval(rows, columns); err != nil {
			return err
		}
		data, err := mlx.Elements(rows)
		if err != nil {
			return err
		}
		if fmt.Sprint(data) != "[4 0 0 0 5 0 0 0 6 0 0 0]" {
			return fmt.Errorf("the second row is %v", data)
		}
		for _, wrong := range []mlx.Array{columns, lazy} {
			if _, err := mlx.Elements(wrong); err == nil {
				return fmt.Errorf("elements of an array that is not there, or not dense")
			}
		}
		return nil
	})
}
