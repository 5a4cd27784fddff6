package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/envcfg"
	"mlx-worker/rpc"
)

func TestWriteAndVerify(t *testing.T) {
	root := t.TempDir()
	if err := verify(root); err == nil {
		t.Error("files that are not there are up to date")
	}
	if err := write(root); err != nil {
		t.Fatal(err)
	}
	if err := verify(root); err != nil {
		t.Errorf("right after they were written: %v", err)
	}
	path := filepath.Join(root, outputs[0].path)
	if err := os.WriteFile(path, []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := verify(root); err == nil || !strings.Contains(err.Error(), outputs[0].path) {
		t.Errorf("an edited file: %v, want an error that names it", err)
	}
}

// Everything in the tables is in both files.
func TestNothingIsLeftOut(t *testing.T) {
	ts, md := typeScript(), markdown()
	wants := func(what string) {
		t.Helper()
		if !strings.Contains(ts, what) || !strings.Contains(md, what) {
			t.Errorf("%s is missing", what)
		}
	}
	for _, m := range rpc.Methods {
		wants(m.Name)
		for _, p := range m.Params {
			wants(p.Name)
			if strings.Contains(p.Type, "Params") && !strings.Contains(ts, "interface "+strings.TrimSuffix(strings.TrimPrefix(p.Type, "readonly "), "[]")+" ") {
				t.Errorf("%s of %s has the unknown type %s", p.Name, m.Name, p.Type)
			}
		}
	}
	for _, e := range rpc.Errors {
		wants(e.Kind)
	}
	for _, v := range envcfg.Variables {
		wants(v.Name)
	}
}

func TestDocIsWrapped(t *testing.T) {
	var b strings.Builder
	doc(&b, "  ", strings.Repeat("word ", 60)+"*/ end")
	for line := range strings.Lines(b.String()) {
		if len(line) > docWidth+1 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if strings.Count(b.String(), "*/") != 1 {
		t.Errorf("the comment ends early:\n%s", b.String())
	}
}
