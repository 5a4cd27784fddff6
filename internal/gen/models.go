package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

var modelsIntro = strings.ReplaceAll(`<!-- Written by ~make generate~ from gpu/models/registry.go, gpu/load and parity/tiny. Do not edit. -->

# Models

What this build runs. ~mlx-worker inspect PATH~ says it of a folder or a GGUF file, without loading it.

A case is a tiny model with made-up weights for which mlx-lm's answer is stored in ~parity/tiny~. ~make parity~
computes each case alone and two prompts in a batch, quantised ones also with dense weights, and
compares tokens and log-probabilities (~parity/README.md~ has the rule).

## Architectures

The first column is ~model_type~ of ~config.json~; architectures of one row share their code, and its cases.
Formats are named as mode bits/group size.

| architectures | cases, dense | cases, quantised | formats compared |
|---|---|---|---|
`, "~", "`")

const formatsIntro = `
## Weight formats

| mode | bits | group size |
|---|---|---|
| affine | 2, 3, 4, 5, 6, 8 | 32, 64, 128 |
| mxfp4 | 4 | 32 |
| mxfp8 | 8 | 32 |
| nvfp4, without a scale of the whole tensor | 4 | 16 |

Matrices of one model may differ: the configuration's map by layer counts, and where a matrix does not
fit it, the shapes of its arrays. A dense checkpoint is quantised while loading on request
(` + "`quantization` of `load_model`" + `), to the bits that mlx_lm.convert writes.

## GGUF

`

// modelsPage returns docs/models.md.
func modelsPage(source string) (string, error) {
	families, err := mapLiteral(filepath.Join(source, "gpu/models/registry.go"), "families")
	if err != nil {
		return "", err
	}
	cases, err := readCases(filepath.Join(source, "parity/tiny"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(modelsIntro)
	for _, row := range architectures(families) {
		b.WriteString(row.markdown(cases))
	}
	b.WriteString(formatsIntro)
	gguf, err := ggufSection(source)
	b.WriteString(gguf)
	return b.String(), err
}

// entry is a key of a map in Go source, and its value.
type entry struct {
	key   string // a string's content, or the source
	value ast.Expr
}

// mapLiteral returns the entries of a package's variable, in order.
func mapLiteral(path, variable string) ([]entry, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || value.Names[0].Name != variable || len(value.Values) != 1 {
				continue
			}
			if literal, ok := value.Values[0].(*ast.CompositeLit); ok {
				return entriesOf(literal), nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no map %s", path, variable)
}

func entriesOf(literal *ast.CompositeLit) (entries []entry) {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if ok {
			entries = append(entries, entry{nameOf(pair.Key), pair.Value})
		}
	}
	return entries
}

// nameOf is the content of a string, the last part of a name, or those of a call.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
		return e.Value
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		name := nameOf(e.Fun)
		for _, argument := range e.Args {
			name += " " + nameOf(argument)
		}
		return name
	case *ast.UnaryExpr:
		return nameOf(e.X)
	}
	return ""
}

// architecture is a row: the model types that one constructor builds.
type architecture struct{ types []string }

// architectures groups model types by constructor, in order of the first.
func architectures(families []entry) []architecture {
	byConstructor := map[string]*architecture{}
	for _, f := range families {
		// A constructor without a name is its model type's own.
		name := cmp.Or(nameOf(f.value), f.key)
		if byConstructor[name] == nil {
			byConstructor[name] = &architecture{}
		}
		byConstructor[name].types = append(byConstructor[name].types, f.key)
	}
	var rows []architecture
	for _, a := range byConstructor {
		slices.Sort(a.types)
		rows = append(rows, *a)
	}
	slices.SortFunc(rows, func(a, b architecture) int { return strings.Compare(a.types[0], b.types[0]) })
	return rows
}

func (a architecture) markdown(cases []parityCase) string {
	dense, quantised := 0, 0
	formats := map[format]bool{}
	for _, c := range cases {
		switch {
		case !slices.Contains(a.types, c.modelType):
		case len(c.formats) == 0:
			dense++
		default:
			quantised++
			maps.Copy(formats, c.formats)
		}
	}
	return fmt.Sprintf("| `%s` | %d | %d | %s |\n", strings.Join(a.types, "`, `"), dense, quantised, list(formats))
}

// format is how a matrix is quantised.
type format struct {
	Mode      string `json:"mode"`
	Bits      int    `json:"bits"`
	GroupSize int    `json:"group_size"`
}

// list names formats as mode and bits/group size, the mode once.
func list(formats map[format]bool) string {
	sorted := slices.SortedFunc(maps.Keys(formats), func(a, b format) int {
		return cmp.Or(strings.Compare(a.Mode, b.Mode), a.Bits-b.Bits, a.GroupSize-b.GroupSize)
	})
	var parts []string
	for i, f := range sorted {
		text := fmt.Sprintf("%d/%d", f.Bits, f.GroupSize)
		if i == 0 || sorted[i-1].Mode != f.Mode {
			text = f.Mode + " " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// parityCase is what a file of parity/tiny compares.
type parityCase struct {
	modelType string
	formats   map[format]bool // empty: dense
}

func readCases(dir string) ([]parityCase, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list the cases of %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s has no cases", dir)
	}
	var cases []parityCase
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var file struct {
			Config struct {
				ModelType string `json:"model_type"`
			} `json:"config"`
			Formats map[string]format `json:"formats"`
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c := parityCase{file.Config.ModelType, map[format]bool{}}
		for _, f := range file.Formats {
			c.formats[f] = true
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// ggufSection tells the architectures and the tensor types of GGUF files.
func ggufSection(source string) (string, error) {
	names, err := mapLiteral(filepath.Join(source, "gpu/load/gguf.go"), "ggufArchitectures")
	if err != nil {
		return "", err
	}
	types, err := mapLiteral(filepath.Join(source, "gpu/load/gguf_blocks.go"), "blockFormats")
	if err != nil {
		return "", err
	}
	var known []string
	for _, n := range names {
		known = append(known, "`"+n.key+"`")
	}
	slices.Sort(known)
	kept := map[string][]string{}
	for _, t := range types {
		how := "stored"
		if literal, ok := t.value.(*ast.CompositeLit); ok {
			for _, field := range entriesOf(literal) {
				switch {
				case field.key == "quant":
					how = "exact"
				case field.key == "expand" && how == "stored":
					how = "dense"
				}
			}
		}
		kept[how] = append(kept[how], t.key)
	}
	for _, list := range kept {
		slices.Sort(list)
	}
	return fmt.Sprintf("`general.architecture`: %s.\n\n| tensor types | in memory |\n|---|---|\n"+
		"| %s | as they are |\n| %s | affine with groups of 32, the same numbers bit for bit |\n"+
		"| %s | dense: their groups of 16 are no format of MLX |\n\n"+
		"Scales of Q4_K and Q5_K have more bits than float16: a GPU, whose default for GGUF files is float16, rounds\nthem unless `dtype` is `float32`.\n",
		strings.Join(known, ", "), strings.Join(kept["stored"], ", "), strings.Join(kept["exact"], ", "), strings.Join(kept["dense"], ", ")), nil
}
