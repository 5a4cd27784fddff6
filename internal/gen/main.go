// Command gen writes what follows from the tables in Go: the client's protocol types and the
// reference documentation. Run it at the root of the repository; with -check it writes nothing
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

// outputs are the generated files, relative to the root of the repository.
var outputs = []struct {
	path    string
	content func() string
}{
	{"js-client/src/generated/protocol.ts", typeScript},
	{"docs/reference.md", markdown},
}

func main() {
	check := flag.Bool("check", false, "only check that the files are up to date")
	flag.Parse()
	run := write
	if *check {
		run = verify
	}
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	for _, out := range outputs {
		path := filepath.Join(root, filepath.FromSlash(out.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(out.content()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func verify(root string) error {
	var problems []error
	for _, out := range outputs {
		have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(out.path)))
		switch {
		case err != nil:
			problems = append(problems, err)
		case !bytes.Equal(have, []byte(out.content())):
			problems = append(problems, fmt.Errorf("%s is out of date: run make generate", out.path))
		}
	}
	return errors.Join(problems...)
}
