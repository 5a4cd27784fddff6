// Package load reads checkpoints: Hugging Face folders and GGUF files, presented alike, with a
// config in the words of config.json and tensors under the names that MLX models use.
//
// Nothing here computes with MLX; arrays are bytes, from which the engine thread makes its own.
package load

import (
	"os"
	"path/filepath"
	"strings"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// Array is an array of a checkpoint, to be read when it is wanted. A quantised matrix has three:
// NAME.weight (packed uint32), NAME.scales and NAME.biases.
type Array struct {
	Name  string // e.g. "model.layers.0.self_attn.q_proj.weight"
	File  string // base name of the file that holds it, for errors
	DType mlx.DType
	Shape []int

	// Fill writes the elements to dst, which has Size bytes: row-major, little-endian. It may be
	// called from any goroutine.
	Fill func(dst []byte) error
}

// Size is the number of bytes of the elements.
func (a Array) Size() int {
	n := a.DType.Size()
	for _, d := range a.Shape {
		n *= d
	}
	return n
}

// Checkpoint is a model on disk.
type Checkpoint interface {
	// Config is config.json, or what a GGUF file's metadata says in its words.
	Config() *Config

	// TotalBytes is the size of all tensors on disk.
	TotalBytes() int64

	// Arrays lists all arrays. With dense, quantised matrices may be one float32 array each.
	Arrays(dense bool) []Array

	// Close releases the files; arrays must not be filled afterwards.
	Close() error
}

// Expander is a Checkpoint that may hold matrices for which MLX has no format.
type Expander interface {
	Expanded() (elements int64, first string)
}

// Open reads the directory of the model at path: a folder with config.json, or a .gguf file.
// supported is asked about the configuration's model_type before anything else is looked at.
// Errors are of kind fault.ModelLoad and name what is missing or wrong.
func Open(path string, supported func(modelType string) error) (Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "%s: no such file or folder", filepath.Base(path))
	}
	if info.IsDir() {
		return openFolder(path, supported)
	}
	if strings.EqualFold(filepath.Ext(path), ".gguf") {
		return openGGUF(path, supported)
	}
	return nil, fault.New(fault.ModelLoad, "%s: neither a folder with config.json nor a .gguf file", filepath.Base(path))
}
