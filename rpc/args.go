package rpc

import (
	"fmt"
	"slices"
	"strings"

	"mlx-worker/rpc/wire"
)

// args are the decoded parameters of a request: those that were given, and the defaults.
type args struct {
	table  []Param
	values map[string]any
	given  map[string]bool // not by default
}

// decodeArgs checks params against a table. Its errors are faults of kind InvalidParams, or
// Unsupported for an option that this build does not offer.
func decodeArgs(table []Param, params wire.Value) (args, error) {
	a := args{table, make(map[string]any, len(table)), map[string]bool{}}
	if params != nil {
		if params.Class() != wire.Map {
			return args{}, invalidParam("params", "an object", "found %v", params.Class())
		}
		if err := a.fill(params); err != nil {
			return args{}, err
		}
	}
	for _, p := range table {
		value := a.values[p.Name]
		switch {
		case value != nil:
			if p.off != nil && !p.off(value) {
				return args{}, unsupported(p.Name, "this build does not offer the option")
			}
		case p.Required:
			return args{}, invalidParam(p.Name, p.Accepts, "it is missing")
		case p.Default != nil:
			a.values[p.Name] = p.Default
		}
	}
	return a, nil
}

// fill decodes the members of params. Those that are null are nil in values.
func (a args) fill(params wire.Value) error {
	for name, value := range params.Entries() {
		p := a.param(name)
		if p == nil {
			return invalidParam(name, a.accepted(), "there is no such parameter")
		}
		if _, given := a.values[name]; given {
			return invalidParam(name, p.Accepts, "it is given twice")
		}
		a.values[name] = nil
		if value.Class() == wire.Nil {
			continue
		}
		decoded, ok := p.decode(value)
		if !ok {
			return invalidParam(name, p.Accepts, "%s is not accepted", describe(value))
		}
		a.values[name] = decoded
		a.given[name] = true
	}
	return nil
}

func (a args) param(name string) *Param {
	i := slices.IndexFunc(a.table, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &a.table[i]
}

func (a args) accepted() string {
	if len(a.table) == 0 {
		return "no parameters"
	}
	names := make([]string, len(a.table))
	for i, p := range a.table {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// has tells whether a parameter was given or has a default.
func (a args) has(name string) bool { return a.values[name] != nil }

// The getters return the zero value for a parameter that was not given and has no default.
// They panic for a name or a type that the table does not have.

func (a args) text(name string) string      { return arg[string](a, name) }
func (a args) bool(name string) bool        { return arg[bool](a, name) }
func (a args) int(name string) int          { return int(arg[int64](a, name)) }
func (a args) number(name string) float64   { return arg[float64](a, name) }
func (a args) tokens(name string) []int32   { return arg[[]int32](a, name) }
func (a args) texts(name string) []string   { return arg[[]string](a, name) }
func (a args) value(name string) wire.Value { return arg[wire.Value](a, name) }

func arg[T any](a args, name string) T {
	if a.param(name) == nil {
		panic(fmt.Sprintf("rpc: there is no parameter %q in the table", name))
	}
	var zero T
	if v := a.values[name]; v != nil {
		return v.(T)
	}
	return zero
}
