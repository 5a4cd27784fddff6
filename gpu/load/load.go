// Package load reads checkpoints: Hugging Face folders and GGUF files, presented alike, with a
// config in the words of config.json and tensors under the names that MLX models use.
//
// Nothing here calls MLX; arrays are handed over as bytes and made by the engine thread.
package load

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// HostArray is one array in host memory, row-major and little-endian. A quantised matrix comes
// as three: NAME.weight (packed uint32), NAME.scales and NAME.biases.
type HostArray struct {
	Name  string // e.g. "model.layers.0.self_attn.q_proj.weight"
	DType mlx.DType
	Shape []int
	Data  []byte // valid until the receiver of the array returns
}

// Checkpoint is a model on disk.
type Checkpoint interface {
	// Config is config.json, or what a GGUF file's metadata says in its words.
	Config() *Config

	// TotalBytes is the size of all tensors on disk.
	TotalBytes() int64

	// Each reads every tensor and gives its arrays to receive, in order, with the bytes read
	// from disk so far. With dense, quantised matrices may come as one dense float32 array. It
	// stops at the first error or when ctx ends.
	Each(ctx context.Context, dense bool, receive func(a HostArray, readBytes int64) error) error

	// Close releases the files.
	Close() error
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
