package rpc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// Param is one row of a method's table of parameters. A parameter that is absent or null has
// its default.
type Param struct {
	Name     string
	Type     string // TypeScript type of the value
	Required bool
	Default  any    // as decode returns it; nil: none
	Accepts  string // what a value may be, for a person
	Doc      string

	// decode returns the value, or false if it is not accepted.
	decode func(wire.Value) (any, bool)
	// off tells whether a value of an option that this build does not offer asks for nothing.
	// nil: the option is offered.
	off func(value any) bool
}

// required returns p as one that cannot be left out.
func (p Param) required() Param {
	p.Required = true
	return p
}

// refusedUnless returns p as an option whose values are refused unless off says that they ask
// for nothing.
func (p Param) refusedUnless(off func(value any) bool) Param {
	p.off = off
	return p
}

// NotOffered tells whether p is an option that this build knows but does not offer. Values
// that ask for nothing are accepted all the same.
func (p Param) NotOffered() bool { return p.off != nil }

// never is for options that ask for something whenever they are given.
func never(any) bool { return false }

// equals returns an off function for options with a neutral value.
func equals[T comparable](neutral T) func(any) bool {
	return func(v any) bool { return v == any(neutral) }
}

func boolParam(name string, def bool, doc string) Param {
	return Param{
		Name: name, Type: "boolean", Default: def, Accepts: "true or false", Doc: doc,
		decode: func(v wire.Value) (any, bool) { return v.Bool() },
	}
}

// textParam takes strings of low to high bytes.
func textParam(name string, low, high int, doc string) Param {
	accepts := "a string"
	if high < math.MaxInt {
		accepts = fmt.Sprintf("a string of %d to %d bytes", low, high)
	} else if low > 0 {
		accepts = "a string that is not empty"
	}
	return Param{
		Name: name, Type: "string", Accepts: accepts, Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			s, ok := v.Text()
			return s, ok && len(s) >= low && len(s) <= high
		},
	}
}

// choiceParam takes one of some strings. def may be empty: none.
func choiceParam(name, def string, choices []string, doc string) Param {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(c)
	}
	p := Param{
		Name: name, Type: strings.Join(quoted, " | "), Accepts: "one of " + strings.Join(quoted, ", "), Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			s, ok := v.Text()
			return s, ok && slices.Contains(choices, s)
		},
	}
	if def != "" {
		p.Default = def
	}
	return p
}

// intParam takes integers from low to high.
func intParam(name string, low, high int64, doc string) Param {
	return Param{
		Name: name, Type: "number", Accepts: intRange(low, high), Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			n, ok := v.Int()
			return n, ok && n >= low && n <= high
		},
	}
}

func intRange(low, high int64) string { return fmt.Sprintf("an integer from %d to %d", low, high) }

// interval is a range of numbers; an open end, of which there is at most one, is not part of it.
type interval struct {
	low, high         float64
	lowOpen, highOpen bool
}

func (i interval) holds(x float64) bool { // false for NaN
	return x >= i.low && x <= i.high && !(i.lowOpen && x == i.low) && !(i.highOpen && x == i.high)
}

func (i interval) String() string {
	switch {
	case i.lowOpen:
		return fmt.Sprintf("a number above %v, up to %v", i.low, i.high)
	case i.highOpen:
		return fmt.Sprintf("a number from %v, below %v", i.low, i.high)
	}
	return fmt.Sprintf("a number from %v to %v", i.low, i.high)
}

// numberParam takes numbers of an interval.
func numberParam(name string, r interval, doc string) Param {
	return Param{
		Name: name, Type: "number", Accepts: r.String(), Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			x, ok := v.Float()
			return x, ok && r.holds(x)
		},
	}
}

// withDefault returns p with a default of the type that decode returns.
func (p Param) withDefault(v any) Param {
	p.Default = v
	return p
}

// tokensParam takes low to high token ids. Whether the model has them is checked later.
func tokensParam(name string, low, high int, doc string) Param {
	accepts := "an array of token ids"
	if high < math.MaxInt {
		accepts = fmt.Sprintf("an array of %d to %d token ids", low, high)
	} else if low > 0 {
		accepts = "an array of token ids that is not empty"
	}
	return Param{
		Name: name, Type: "readonly number[]", Accepts: accepts, Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			return decodeArray(v, low, high, func(item wire.Value) (int32, bool) {
				n, ok := item.Int()
				return int32(n), ok && n >= 0 && n <= math.MaxInt32
			})
		},
	}
}

// decodeArray decodes an array of low to high elements; ok is false if one of them does not fit.
func decodeArray[T any](v wire.Value, low, high int, element func(wire.Value) (T, bool)) (any, bool) {
	if v.Class() != wire.Array || v.Len() < low || v.Len() > high {
		return nil, false
	}
	elements := make([]T, 0, v.Len())
	for item := range v.Items() {
		e, ok := element(item)
		if !ok {
			return nil, false
		}
		elements = append(elements, e)
	}
	return elements, true
}

// textsParam takes up to most strings of 1 to high bytes.
func textsParam(name string, most, high int, doc string) Param {
	accepts := fmt.Sprintf("an array of at most %d strings that are not empty", most)
	if high < math.MaxInt {
		accepts = fmt.Sprintf("an array of at most %d strings of 1 to %d bytes", most, high)
	}
	return Param{
		Name: name, Type: "readonly string[]", Accepts: accepts, Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			return decodeArray(v, 0, most, func(item wire.Value) (string, bool) {
				s, ok := item.Text()
				return s, ok && len(s) > 0 && len(s) <= high
			})
		},
	}
}

// objectParam takes maps, which stay encoded.
func objectParam(name, doc string) Param {
	return Param{
		Name: name, Type: "Readonly<Record<string, unknown>>", Accepts: "an object", Doc: doc,
		decode: func(v wire.Value) (any, bool) { return v, v.Class() == wire.Map },
	}
}

// objectsParam takes arrays of low to high maps, which stay encoded.
func objectsParam(name string, low, high int, doc string) Param {
	accepts := "an array of objects"
	if high < math.MaxInt {
		accepts = fmt.Sprintf("an array of %d to %d objects", low, high)
	} else if low > 0 {
		accepts = "an array of objects that is not empty"
	}
	return Param{
		Name: name, Type: "readonly Readonly<Record<string, unknown>>[]", Accepts: accepts, Doc: doc,
		decode: func(v wire.Value) (any, bool) {
			if v.Class() != wire.Array || v.Len() < low || v.Len() > high {
				return nil, false
			}
			for item := range v.Items() {
				if item.Class() != wire.Map {
					return nil, false
				}
			}
			return v, true
		},
	}
}

// invalidParam returns the error for a value of the parameter name.
func invalidParam(name, accepted, format string, values ...any) *fault.Error {
	return fault.New(fault.InvalidParams, "parameter %s: %s; accepted: %s", wire.Quote(name), fmt.Sprintf(format, values...), accepted).
		With("param", strings.ToValidUTF8(name[:min(len(name), 64)], "")).
		With("accepted", accepted)
}

// describe returns a value as part of a message: scalars as they are, others by class.
func describe(v wire.Value) string {
	switch v.Class() {
	case wire.Bool:
		b, _ := v.Bool()
		return strconv.FormatBool(b)
	case wire.Int, wire.Float:
		if n, ok := v.Int(); ok {
			return strconv.FormatInt(n, 10)
		}
		x, _ := v.Float()
		return strconv.FormatFloat(x, 'g', -1, 64)
	case wire.String:
		s, _ := v.Text()
		return wire.Quote(s)
	case wire.Array, wire.Map:
		return fmt.Sprintf("%v of %d", v.Class(), v.Len())
	}
	return v.Class().String()
}
