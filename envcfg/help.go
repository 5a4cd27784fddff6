package envcfg

import (
	"fmt"
	"io"
	"strings"
)

// WriteHelp writes the table for --help.
func WriteHelp(w io.Writer) error {
	for _, v := range Variables {
		if _, err := fmt.Fprintf(w, "  %s\n      %s\n      %s; default %s\n", v.Name, v.Doc, v.Accepts, orNone(v.Default)); err != nil {
			return err
		}
	}
	return nil
}

// Markdown returns the table for the documentation.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| variable | default | accepted | meaning |\n|---|---|---|---|\n")
	for _, v := range Variables {
		def := "-"
		if v.Default != "" {
			def = "`" + v.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, def, v.Accepts, v.Doc)
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
