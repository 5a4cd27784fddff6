package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// write prints the report for a person.
func (r *report) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range r.rows() {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1]) // Flush returns the error
	}
	return w.Flush()
}

func (r *report) rows() [][2]string {
	support := "supported"
	if !r.Supported {
		support = "not supported"
	}
	rows := [][2]string{
		{"architecture", fmt.Sprintf("%s (%s), %s", orUnknown(r.Architecture), r.Format, support)},
		{"parameters", fmt.Sprintf("%s in %s", count(r.Parameters), byteSize(r.SizeBytes))},
		{"quantisation", r.quantisation()},
		{"tensors", r.tensors()},
		{"context", fmt.Sprintf("%d tokens", r.ContextLength)},
	}
	if r.ContextLength == 0 {
		rows[len(rows)-1][1] = "unknown"
	}
	if t := r.Tokenizer; t != nil {
		rows = append(rows, [2]string{"vocabulary", fmt.Sprintf("%d tokens", t.VocabSize)})
		if t.BOS != nil {
			rows = append(rows, [2]string{"BOS", t.BOS.String()})
		}
		var ends []string
		for _, e := range t.EOS {
			ends = append(ends, e.String())
		}
		rows = append(rows, [2]string{"EOS", orUnknown(strings.Join(ends, ", "))})
	}
	rows = append(rows, [2]string{"chat template", r.ChatTemplate.String()})
	for _, why := range r.Unsupported {
		rows = append(rows, [2]string{"unsupported", why})
	}
	return rows
}

func (r *report) quantisation() string {
	if r.Quantization == nil {
		return "none"
	}
	q := r.Quantization
	return fmt.Sprintf("%d bit %s, group %d", q.Bits, q.Mode, q.GroupSize)
}

func (r *report) tensors() string {
	var parts []string
	for _, format := range slices.Sorted(maps.Keys(r.Tensors)) {
		parts = append(parts, fmt.Sprintf("%d × %s", r.Tensors[format], format))
	}
	return orUnknown(strings.Join(parts, ", "))
}

func (t token) String() string { return fmt.Sprintf("%d %q", t.ID, t.Text) }

func (c chatTemplate) String() string {
	switch {
	case !c.Present:
		return "none"
	case c.Tools:
		return "yes, with tools"
	default:
		return "yes, without tools"
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// count writes a number of parameters: 134.5 M.
func count(n int64) string { return withUnit(n, 1000, "", " k", " M", " G", " T") }

// byteSize writes a size: 87.1 MiB.
func byteSize(n int64) string { return withUnit(n, 1024, " B", " KiB", " MiB", " GiB", " TiB") }

func withUnit(n int64, step float64, units ...string) string {
	value, unit := float64(n), 0
	for value >= step && unit < len(units)-1 {
		value /= step
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d%s", n, units[0])
	}
	return fmt.Sprintf("%.1f%s", value, units[unit])
}
