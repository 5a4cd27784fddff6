// Package safetensorstest writes safetensors files for tests.
package safetensorstest

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"
)

// Tensor is a tensor to write; Data is little-endian and row-major.
type Tensor struct {
	Name  string
	DType string
	Shape []int
	Data  []byte
}

// Encode returns a safetensors file.
func Encode(tensors ...Tensor) []byte {
	header := map[string]any{"__metadata__": map[string]string{"format": "mlx"}}
	var data []byte
	for _, t := range tensors {
		header[t.Name] = map[string]any{
			"dtype": t.DType, "shape": t.Shape, "data_offsets": []int{len(data), len(data) + len(t.Data)},
		}
		data = append(data, t.Data...)
	}
	encoded, err := json.Marshal(header)
	if err != nil {
		panic(err) // only strings and integers above
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(encoded)))
	return append(append(file, encoded...), data...)
}

// Write writes a safetensors file at path.
func Write(t testing.TB, path string, tensors ...Tensor) {
	t.Helper()
	if err := os.WriteFile(path, Encode(tensors...), 0o600); err != nil {
		t.Fatal(err)
	}
}
