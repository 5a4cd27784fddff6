package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/envcfg"
	"mlx-worker/rpc"
)

// source is the root of the repository.
const source = "../.."

func TestWriteAndVerify(t *testing.T) {
	root := t.TempDir()
	if err := verify(source, root); err == nil {
		t.Error("files that are not there are up to date")
	}
	if err := write(source, root); err != nil {
		t.Fatal(err)
	}
	if err := verify(source, root); err != nil {
		t.Errorf("right after they were written: %v", err)
	}
	path := filepath.Join(root, outputs[0].path)
	if err := os.WriteFile(path, []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := verify(source, root); err == nil || !strings.Contains(err.Error(), outputs[0].path) {
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

func TestModelsPage(t *testing.T) {
	page, err := modelsPage(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"`llama`", "| affine 2/32, 2/64, 2/128, 3/32", "nvfp4 4/16", "Q4_K, Q5_0, Q5_1, Q5_K, Q8_0", "Q2_K, Q3_K, Q6_K", "BF16, F16, F32"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if _, err := modelsPage(t.TempDir()); err == nil {
		t.Error("a page of no source")
	}
}

func TestArchitecturesShareARow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.go")
	const code = `package models
var families = map[string]func(){"b": newB, "a": newA, "c": newB, "d": with(newB), "e": func() {}, "f": with(newA)}`
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := mapLiteral(path, "families")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range architectures(entries) {
		got = append(got, strings.Join(row.types, "+"))
	}
	if strings.Join(got, " ") != "a b+c d e f" {
		t.Errorf("rows %v", got)
	}
	dense := parityCase{modelType: "c", formats: map[format]bool{}}
	quantised := parityCase{modelType: "b", formats: map[format]bool{{"affine", 4, 32}: true, {"affine", 8, 64}: true}}
	if row := architectures(entries)[1].markdown([]parityCase{dense, quantised, {modelType: "a"}}); row != "| `b`, `c` | 1 | 1 | affine 4/32, 8/64 |\n" {
		t.Errorf("row %s", row)
	}
	if _, err := mapLiteral(path, "others"); err == nil {
		t.Error("a map that is not there")
	}
}
