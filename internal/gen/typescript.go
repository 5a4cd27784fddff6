package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"mlx-worker/envcfg"
	"mlx-worker/rpc"
)

const header = "// Written by `make generate` from the tables in rpc/ and envcfg/. Do not edit.\n"

// typeScript returns the client's protocol.ts.
func typeScript() string {
	var b strings.Builder
	b.WriteString(header)
	errorCodes(&b)
	for _, m := range rpc.Methods {
		if len(m.Params) > 0 {
			paramsInterface(&b, m)
		}
	}
	methodParams(&b)
	environment(&b)
	return b.String()
}

func errorCodes(b *strings.Builder) {
	b.WriteString("\n/** JSON-RPC error code of every error kind that the worker sends. */\nexport const ERROR_CODES = {\n")
	for _, e := range rpc.Errors {
		doc(b, "  ", e.Doc)
		fmt.Fprintf(b, "  %s: %d,\n", e.Kind, e.Code)
	}
	b.WriteString("} as const;\n")
	b.WriteString("\n/** Class of a failure reported by the worker, as in `error.data.kind` on the wire. */\n")
	b.WriteString("export type ErrorKind = keyof typeof ERROR_CODES;\n")
}

func paramsInterface(b *strings.Builder, m rpc.Method) {
	b.WriteString("\n")
	text := fmt.Sprintf("Parameters of `%s`. %s", m.Name, m.Doc)
	if m.NotOffered != "" {
		text += " Refused with Unsupported: " + m.NotOffered + "."
	}
	doc(b, "", text)
	base := ""
	if m.Base != "" {
		base = "extends " + interfaceName(m.Base) + " "
	}
	fmt.Fprintf(b, "export interface %s %s{\n", interfaceName(m.Name), base)
	for _, p := range m.Params {
		text := p.Doc
		if p.Default != nil {
			text += fmt.Sprintf(" Default: %s.", literal(p.Default))
		}
		text += fmt.Sprintf(" Accepted: %s.", p.Accepts)
		if p.NotOffered() {
			text += notOffered
		}
		doc(b, "  ", text)
		if p.Required {
			fmt.Fprintf(b, "  readonly %s: %s;\n", p.Name, p.Type)
		} else {
			fmt.Fprintf(b, "  readonly %s?: %s | null | undefined;\n", p.Name, p.Type)
		}
	}
	b.WriteString("}\n")
}

func methodParams(b *strings.Builder) {
	b.WriteString("\n/** The parameters of every method. */\nexport interface MethodParams {\n")
	for _, m := range rpc.Methods {
		params := "Readonly<Record<string, never>>"
		if len(m.Params) > 0 {
			params = interfaceName(m.Name)
		}
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			fmt.Fprintf(b, "  readonly %s: %s;\n", propertyName(name), params)
		}
	}
	b.WriteString("}\n\n/** Name of a method. */\nexport type MethodName = keyof MethodParams;\n")
}

func environment(b *strings.Builder) {
	b.WriteString("\n/** An environment variable that the worker reads. */\nexport type EnvironmentVariable =\n")
	for i, v := range envcfg.Variables {
		end := ""
		if i == len(envcfg.Variables)-1 {
			end = ";"
		}
		fmt.Fprintf(b, "  | %q%s\n", v.Name, end)
	}
}

// interfaceName returns the name of the interface of a method's parameters: load_model has
// LoadModelParams.
func interfaceName(method string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(method, func(r rune) bool { return r == '_' || r == '/' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String() + "Params"
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

func propertyName(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

// literal returns a default value as TypeScript and JSON write it.
func literal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("gen: a default of the tables is no JSON: %v", err))
	}
	return string(text)
}

// docWidth is how long the lines of a comment may be, the formatter's limit.
const docWidth = 110

// doc writes a TSDoc comment, on one line if it fits.
func doc(b *strings.Builder, indent, text string) {
	text = strings.ReplaceAll(text, "*/", "*\\/")
	if len(indent)+len("/** ")+len(text)+len(" */") <= docWidth {
		fmt.Fprintf(b, "%s/** %s */\n", indent, text)
		return
	}
	fmt.Fprintf(b, "%s/**\n", indent)
	line := indent + " *"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > docWidth {
			b.WriteString(line + "\n")
			line = indent + " *"
		}
		line += " " + word
	}
	fmt.Fprintf(b, "%s\n%s */\n", line, indent)
}
