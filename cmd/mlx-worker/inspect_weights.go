package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/models"
	"mlx-worker/internal/gguf"
)

// examineWeights reads headers. What the loader cannot open is described as far as its
// configuration or its directory can be read.
func (r *report) examineWeights(path string) {
	checkpoint, err := load.Open(path, func(modelType string) error {
		r.Architecture = modelType
		return nil
	})
	if err != nil {
		r.fails(err)
		if r.Format == "gguf" {
			r.describeGGUF(path)
		} else {
			r.describeConfig(path)
		}
		return
	}
	defer checkpoint.Close()
	config := checkpoint.Config()
	r.ContextLength, r.SizeBytes = config.MaxLength, checkpoint.TotalBytes()
	if q := config.Quantization(); q != nil {
		r.Quantization = &quantization{Mode: string(q.Mode), Bits: q.Bits, GroupSize: q.GroupSize}
	}
	stored := r.countTensors(checkpoint)
	if err := models.Supported(r.Architecture); err != nil {
		r.Parameters = stored
		r.fails(err)
		return
	}
	if r.Parameters, err = models.Check(checkpoint); err != nil {
		r.Parameters = stored
		r.fails(err)
	}
}

// countTensors counts tensors by format, quantised matrices as one each, and returns the number
// of elements before quantisation.
func (r *report) countTensors(checkpoint load.Checkpoint) (elements int64) {
	config := checkpoint.Config()
	arrays := checkpoint.Arrays(false)
	scaled := map[string]bool{}
	for _, a := range arrays {
		if path, ok := strings.CutSuffix(a.Name, ".scales"); ok {
			scaled[path] = true
		}
	}
	for _, a := range arrays {
		path, part := a.Name, ""
		if i := strings.LastIndexByte(a.Name, '.'); i >= 0 {
			path, part = a.Name[:i], a.Name[i+1:]
		}
		format := config.LayerQuantization(path)
		switch {
		case scaled[path] && (part == "scales" || part == "biases"):
		case scaled[path] && part == "weight" && format != nil:
			r.Tensors[fmt.Sprintf("%d bit %s, group %d", format.Bits, format.Mode, format.GroupSize)]++
			elements += int64(a.Size()) * 8 / int64(format.Bits)
		default:
			r.Tensors[a.DType.String()]++
			elements += int64(a.Size() / a.DType.Size())
		}
	}
	return elements
}

// describeConfig tells what config.json says of a folder that the loader refuses.
func (r *report) describeConfig(path string) {
	var config struct {
		ModelType string `json:"model_type"`
		MaxLength int    `json:"max_position_embeddings"`
	}
	raw, err := os.ReadFile(filepath.Join(path, "config.json"))
	if err != nil || json.Unmarshal(raw, &config) != nil {
		return // the loader's complaint says it all
	}
	r.Architecture, r.ContextLength = config.ModelType, config.MaxLength
}

// describeGGUF tells what the directory says of a file that the loader refuses.
func (r *report) describeGGUF(path string) {
	file, err := gguf.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	// A key that is absent or of another type leaves its fact out.
	r.Architecture, _, _ = gguf.Get[string](file, "general.architecture")
	r.ContextLength, _, _ = gguf.Get[int](file, r.Architecture+".context_length")
	for i := range file.Tensors() {
		t := &file.Tensors()[i]
		r.Tensors[t.Type.String()]++
		r.Parameters += int64(t.Elements())
		r.SizeBytes += int64(len(t.Data()))
	}
}
