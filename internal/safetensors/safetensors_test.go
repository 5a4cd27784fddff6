package safetensors_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/safetensors"
	"mlx-worker/internal/safetensors/safetensorstest"
)

var sample = []safetensorstest.Tensor{
	{Name: "b", DType: "F32", Shape: []int{2, 1}, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
	{Name: "a", DType: "BF16", Shape: []int{3}, Data: []byte{9, 10, 11, 12, 13, 14}},
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	f, err := safetensors.Open(write(t, safetensorstest.Encode(sample...)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors) != 2 || f.Tensors[0].Name != "a" || f.Tensors[1].DType != "F32" || f.Tensors[1].Shape[0] != 2 {
		t.Fatalf("directory: %+v", f.Tensors)
	}
	for i, want := range []string{string(sample[1].Data), string(sample[0].Data)} {
		got := make([]byte, f.Tensors[i].Bytes)
		if err := f.Read(f.Tensors[i], got, nothing); err != nil || string(got) != want {
			t.Errorf("tensor %d: %v, %v", i, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	good := safetensorstest.Encode(sample...)
	header := func(json string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(json))), json...)
	}
	for name, test := range map[string]struct {
		content []byte
		says    string
	}{
		"empty":             {nil, "shorter than"},
		"header too long":   {binary.LittleEndian.AppendUint64(nil, 1<<62), "does not fit"},
		"not JSON":          {header("x"), "not a JSON object"},
		"truncated data":    {good[:len(good)-1], `truncated: tensor`},
		"unknown dtype":     {header(`{"t":{"dtype":"Q9","shape":[],"data_offsets":[0,0]}}`), `unknown dtype "Q9"`},
		"negative shape":    {header(`{"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}`), "impossible shape"},
		"overflowing shape": {header(`{"t":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,0]}}`), "impossible shape"},
		"wrong length":      {append(header(`{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`), 0, 0, 0, 0), "needs 8"},
		"no offsets":        {header(`{"t":{"dtype":"F32","shape":[2]}}`), "no data_offsets"},
		"swapped offsets":   {append(header(`{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`), 0, 0, 0, 0), "truncated"},
	} {
		_, err := safetensors.Open(write(t, test.content))
		if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "model.safetensors") {
			t.Errorf("%s: got %v, want a ModelLoad fault with %q", name, err, test.says)
		}
	}
	if _, err := safetensors.Open(filepath.Join(t.TempDir(), "none.safetensors")); !fault.Is(err, fault.ModelLoad) || strings.Contains(err.Error(), os.TempDir()) {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(safetensorstest.Encode(sample...))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := safetensors.Open(write(t, content))
		if err != nil {
			return
		}
		defer file.Close()
		for _, tensor := range file.Tensors {
			if err := file.Read(tensor, make([]byte, tensor.Bytes), nothing); err != nil {
				t.Errorf("%s was accepted and cannot be read: %v", tensor.Name, err)
			}
		}
	})
}

func nothing([]byte) error { return nil }
