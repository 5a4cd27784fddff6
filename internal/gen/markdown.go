package main

import (
	"fmt"
	"strings"

	"mlx-worker/envcfg"
	"mlx-worker/rpc"
)

var intro = strings.ReplaceAll(`<!-- Written by ~make generate~ from the tables in rpc/ and envcfg/. Do not edit. -->

# Reference

What the worker understands and sends, protocol version %d. The npm package does all of this for you; this page
is for those who talk to the worker themselves, or want to know exactly what an option means.

## Frames

Both directions carry frames: a big-endian uint32 with the length of the body, and the body, exactly one
MessagePack map: a JSON-RPC 2.0 message (~jsonrpc~, ~id~, ~method~, ~params~, or ~result~ or ~error~). Keys are
strings; extension types and batches are not part of the protocol; values nest at most 64 levels deep. An id is
a string of at most 1024 bytes or an integer from 0 to 2^53-1. A body of more than ~MLX_MAX_FRAME_BYTES~ is
skipped, one that is no valid message is answered, and the connection goes on.

Requests are read in order and worked on at the same time; answers come in any order. The answer of ~generate~
precedes the notifications of its stream, whose order is chunks, stats, event. A parameter that is absent or
null has its default; an unknown one is an error. Names that end in ~_ms~ are milliseconds, in ~_bytes~ bytes.

The worker ends with exit code 0 when its stdin ends, on ~shutdown~ and on SIGTERM; with 2 for a bad environment
or bad arguments, with 3 if MLX cannot start, with 70 for an internal fault or when its stdout cannot be
written.
`, "~", "`")

// markdown returns docs/reference.md.
func markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, intro, rpc.ProtocolVersion)
	b.WriteString("\n## Methods\n")
	for _, m := range rpc.Methods {
		if m.NotOffered == "" {
			method(&b, m)
		}
	}
	b.WriteString("\n## Methods that this build does not offer\n\nThey are known, and answered with `Unsupported`.\n")
	for _, m := range rpc.Methods {
		if m.NotOffered != "" {
			method(&b, m)
		}
	}
	b.WriteString("\n## Notifications\n\n| notification | when | params |\n|---|---|---|\n")
	for _, n := range rpc.Notifications {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", n.Name, cell(n.Doc), cell(n.Params))
	}
	b.WriteString("\n## Errors\n\nAn error is `{code, message, data}`: the message is for a person, `data.kind` for a program.\n\n")
	b.WriteString("| code | kind | when | data beside kind |\n|---|---|---|---|\n")
	for _, e := range rpc.Errors {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", e.Code, e.Kind, cell(e.Doc), cell(e.Data))
	}
	b.WriteString("\n## Environment\n\nRead once, when the worker starts. A value that is not accepted ends it with exit code 2.\n\n")
	b.WriteString(envcfg.Markdown())
	return b.String()
}

func method(b *strings.Builder, m rpc.Method) {
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n", m.Name, m.Doc)
	if len(m.Aliases) > 0 {
		fmt.Fprintf(b, "\nOther names: `%s`.\n", strings.Join(m.Aliases, "`, `"))
	}
	if m.NotOffered != "" {
		fmt.Fprintf(b, "\nNot offered: %s.\n", m.NotOffered)
	}
	if m.Base != "" {
		fmt.Fprintf(b, "\nIt has the parameters of `%s`, and:\n", m.Base)
	}
	if len(m.Params) > 0 {
		b.WriteString("\n| parameter | default | accepted | meaning |\n|---|---|---|---|\n")
	}
	for _, p := range m.Params {
		def := ""
		switch {
		case p.Required:
			def = "required"
		case p.Default != nil:
			def = "`" + literal(p.Default) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, def, cell(p.Accepts), cell(meaning(p)))
	}
	if m.Result != "" {
		fmt.Fprintf(b, "\nResult: %s.\n", m.Result)
	}
}

// notOffered is said of options that the worker knows and refuses.
const notOffered = " Not offered by this build."

func meaning(p rpc.Param) string {
	if p.NotOffered() {
		return p.Doc + notOffered
	}
	return p.Doc
}

// cell escapes what would end a table's cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
