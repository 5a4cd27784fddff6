// Command gen writes what follows from the tables in Go: the client's protocol types, the
// reference documentation and the list of models. Run it at the root of the repository; with -check it writes nothing
// and fails if a file is not as it would write it.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// outputs are the generated files, relative to the root of the repository. source is the root of
// the repository that they are made from.
var outputs = []struct {
	path    string
	content func(source string) (string, error)
}{
	{"js-client/src/generated/protocol.ts", func(string) (string, error) { return typeScript(), nil }},
	{"docs/reference.md", func(string) (string, error) { return markdown(), nil }},
	{"docs/models.md", modelsPage},
}

func main() {
	check := flag.Bool("check", false, "only check that the files are up to date")
	flag.Parse()
	run := write
	if *check {
		run = verify
	}
	if err := run(".", "."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(source, root string) error {
	for _, out := range outputs {
		content, err := out.content(source)
		if err != nil {
			return err
		}
		path := filepath.Join(root, filepath.FromSlash(out.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func verify(source, root string) error {
	var problems []error
	for _, out := range outputs {
		want, err := out.content(source)
		if err != nil {
			return err
		}
		have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(out.path)))
		switch {
		case err != nil:
			problems = append(problems, err)
		case !bytes.Equal(have, []byte(want)):
			problems = append(problems, fmt.Errorf("%s is out of date: run make generate", out.path))
		}
	}
	return errors.Join(problems...)
}
