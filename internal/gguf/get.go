package gguf

import (
	"math"
	"slices"

	"mlx-worker/internal/fault"
)

// Gettable are the Go types that Get decodes metadata into.
type Gettable interface {
	string | bool | int | int32 | int64 | uint32 | uint64 | float32 | float64 |
		[]string | []bool | []int32 | []int64 | []float32 | []float64
}

// Get returns the metadata value of key as a T; ok is false if the key is absent. Integers of
// any width convert where the value fits, integers and floats convert to floats. A value of
// another type, or one that does not fit, is an error that names the key.
//
// Strings are copied out of the file. Decoding an array is not cached.
func Get[T Gettable](f *File, key string) (v T, ok bool, err error) {
	raw, ok := f.metadata[key]
	if !ok {
		return v, false, nil
	}
	if err := raw.decode(any(&v)); err != nil {
		return v, true, fault.New(fault.ModelLoad, "%s: metadata key %q is %s %w", f.name, key, raw, err).
			With("file", f.name).With("key", key)
	}
	return v, true, nil
}

// String describes the value's type, for errors.
func (v value) String() string {
	if v.typ == typeArray {
		return "an array of " + v.elem.String()
	}
	return "of type " + v.typ.String()
}

// wanted is the second half of Get's error.
type wanted string

func (w wanted) Error() string { return "and " + string(w) }

func (v value) decode(target any) error {
	switch p := target.(type) {
	case *string:
		if v.typ != typeString {
			return wanted("not a string")
		}
		*p = string(v.raw)
	case *bool:
		if v.typ != typeBool {
			return wanted("not a bool")
		}
		*p = v.raw[0] == 1
	case *int:
		return decodeSigned(v, p, math.MinInt, math.MaxInt)
	case *int32:
		return decodeSigned(v, p, math.MinInt32, math.MaxInt32)
	case *int64:
		return decodeSigned(v, p, math.MinInt64, math.MaxInt64)
	case *uint32:
		return decodeUnsigned(v, p, math.MaxUint32)
	case *uint64:
		return decodeUnsigned(v, p, math.MaxUint64)
	case *float32:
		return decodeFloat(v, p)
	case *float64:
		return decodeFloat(v, p)
	case *[]string:
		if v.typ != typeArray || v.elem != typeString {
			return wanted("not an array of strings")
		}
		*p = v.strings()
	case *[]bool:
		return decodeArray(v, p, "bool", typeBool)
	case *[]int32:
		return decodeArray(v, p, "int32", integerTypes...)
	case *[]int64:
		return decodeArray(v, p, "int64", integerTypes...)
	case *[]float32:
		return decodeArray(v, p, "float32", numberTypes...)
	case *[]float64:
		return decodeArray(v, p, "float64", numberTypes...)
	}
	return nil
}

var (
	integerTypes = []valueType{typeUint8, typeInt8, typeUint16, typeInt16, typeUint32, typeInt32, typeUint64, typeInt64}
	numberTypes  = append([]valueType{typeFloat32, typeFloat64}, integerTypes...)
)

func decodeSigned[T int | int32 | int64](v value, p *T, low, high int64) error {
	u, negative, ok := v.integer()
	if !ok {
		return wanted("not an integer")
	}
	if negative && int64(u) < low || !negative && u > uint64(high) {
		return wanted("too large for this use")
	}
	*p = T(u)
	return nil
}

func decodeUnsigned[T uint32 | uint64](v value, p *T, high uint64) error {
	u, negative, ok := v.integer()
	if !ok {
		return wanted("not an integer")
	}
	if negative || u > high {
		return wanted("negative or too large for this use")
	}
	*p = T(u)
	return nil
}

func decodeFloat[T float32 | float64](v value, p *T) error {
	if x, ok := v.float(); ok {
		*p = T(x)
		return nil
	}
	u, negative, ok := v.integer()
	switch {
	case !ok:
		return wanted("not a number")
	case negative:
		*p = T(int64(u))
	default:
		*p = T(u)
	}
	return nil
}

func decodeArray[T bool | int32 | int64 | float32 | float64](v value, p *[]T, name string, accepted ...valueType) error {
	if v.typ != typeArray || !slices.Contains(accepted, v.elem) {
		return wanted("not an array of " + name)
	}
	out := make([]T, v.count)
	for i, elem := range v.elements {
		if err := elem.decode(any(&out[i])); err != nil {
			return err
		}
	}
	*p = out
	return nil
}
