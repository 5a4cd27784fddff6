package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mlx-worker/envcfg"
	"mlx-worker/internal/modelfiles"
)

// exitUnsupported says that this build cannot run the model that was inspected.
const exitUnsupported = 1

// report is what mlx-worker inspect says of a model. Facts that the files don't tell are zero.
type report struct {
	Path          string         `json:"path"`
	Format        string         `json:"format"` // "folder" or "gguf"
	Architecture  string         `json:"architecture"`
	Supported     bool           `json:"supported"`
	Parameters    int64          `json:"parameters"`
	SizeBytes     int64          `json:"size_bytes"`   // of the tensors on disk
	Quantization  *quantization  `json:"quantization"` // the predominant one; null: dense
	Tensors       map[string]int `json:"tensors"`      // number of tensors or quantised matrices by format
	ContextLength int            `json:"context_length"`
	Tokenizer     *tokenizer     `json:"tokenizer"`
	ChatTemplate  chatTemplate   `json:"chat_template"`
	Unsupported   []string       `json:"unsupported"` // why it cannot run, or what is missing when it does
}

type quantization struct {
	Mode      string `json:"mode"`
	Bits      int    `json:"bits"`
	GroupSize int    `json:"group_size"`
}

type tokenizer struct {
	VocabSize int     `json:"vocab_size"`
	BOS       *token  `json:"bos"`
	EOS       []token `json:"eos"`
}

type token struct {
	ID   int32  `json:"id"`
	Text string `json:"text"`
}

type chatTemplate struct {
	Present bool `json:"present"`
	Tools   bool `json:"tools"` // tools change the prompt
}

// fails notes why the worker cannot run the model.
func (r *report) fails(err error) {
	r.Supported = false
	r.Unsupported = append(r.Unsupported, err.Error())
}

// runInspect is the command line of inspect: PATH, and --json before or behind it.
func runInspect(args []string, out io.Writer) int {
	path, asJSON := "", false
	for _, arg := range args {
		switch {
		case arg == "--json" || arg == "-json":
			asJSON = true
		case arg == "--help" || arg == "-h":
			return printed(exitOK, writeHelp(out))
		case strings.HasPrefix(arg, "-") || path != "":
			complain(fmt.Errorf("unexpected argument %q; accepted: inspect PATH [--json]", arg))
			return exitUsage
		default:
			path = arg
		}
	}
	if path == "" {
		complain(errors.New("inspect needs the path of a model; accepted: inspect PATH [--json]"))
		return exitUsage
	}
	return inspect(path, asJSON, out)
}

// inspect prints the facts of the model at path. It starts no MLX and reads no weights.
func inspect(path string, asJSON bool, out io.Writer) int {
	if _, err := os.Stat(path); err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		complain(errors.New(path + ": " + err.Error()))
		return exitUsage
	}
	r := examine(path)
	code := exitOK
	if !r.Supported {
		code = exitUnsupported
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return printed(code, encoder.Encode(r))
	}
	return printed(code, r.write(out))
}

// examine collects what can be known; a part that cannot be read does not hide the others.
func examine(path string) *report {
	r := &report{Path: path, Format: "folder", Supported: true, Tensors: map[string]int{}, Unsupported: []string{}}
	resolved, err := modelfiles.NewResolver(envcfg.Models{}).Resolve("model", path, "")
	if err != nil {
		r.fails(err)
		return r
	}
	if strings.EqualFold(filepath.Ext(resolved), ".gguf") {
		r.Format = "gguf"
	}
	r.examineWeights(resolved)
	r.examineText(resolved)
	return r
}
