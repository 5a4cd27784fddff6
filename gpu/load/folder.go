package load

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/safetensors"
)

// dtypes that MLX models are stored in; others of the format are refused by name.
var safetensorsDTypes = map[safetensors.DType]mlx.DType{
	"BOOL": mlx.Bool, "U8": mlx.Uint8, "U32": mlx.Uint32, "I32": mlx.Int32, "I64": mlx.Int64,
	"F16": mlx.Float16, "BF16": mlx.BFloat16, "F32": mlx.Float32,
}

// maxConfigBytes bounds what is read of a JSON file.
const maxConfigBytes = 64 << 20

type folder struct {
	config *Config
	files  []*safetensors.File
	total  int64
}

func openFolder(dir string, supported func(string) error) (Checkpoint, error) {
	raw, err := readSmallFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.ModelLoad, "%s: the folder has no config.json", filepath.Base(dir))
	}
	if err != nil {
		return nil, err
	}
	config, err := ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	if err := supported(config.ModelType); err != nil {
		return nil, err
	}
	names, err := weightFiles(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{config: config}
	seen := map[string]string{}
	for _, name := range names {
		file, err := safetensors.Open(filepath.Join(dir, name))
		if err != nil {
			f.Close()
			return nil, err
		}
		f.files = append(f.files, file)
		for _, t := range file.Tensors {
			if other, twice := seen[t.Name]; twice {
				f.Close()
				return nil, fault.New(fault.ModelLoad, "tensor %q is in %s and in %s", t.Name, other, name)
			}
			seen[t.Name] = name
			if _, ok := safetensorsDTypes[t.DType]; !ok {
				f.Close()
				return nil, fault.New(fault.ModelLoad, "%s: tensor %q has the unsupported dtype %s", name, t.Name, t.DType)
			}
			f.total += t.Bytes
		}
	}
	return f, nil
}

// weightFiles names the shards: those of the index if there is one, else model*.safetensors.
func weightFiles(dir string) ([]string, error) {
	raw, err := readSmallFile(filepath.Join(dir, "model.safetensors.index.json"))
	switch {
	case err == nil:
		return indexedFiles(dir, raw)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "model*.safetensors"))
	if err != nil || len(paths) == 0 {
		return nil, fault.New(fault.ModelLoad, "%s: the folder has no model*.safetensors", filepath.Base(dir))
	}
	for i, path := range paths {
		paths[i] = filepath.Base(path)
	}
	slices.Sort(paths)
	return paths, nil
}

func indexedFiles(dir string, raw []byte) ([]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fault.New(fault.ModelLoad, "model.safetensors.index.json: %w", err)
	}
	var names []string
	for _, name := range index.WeightMap {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return nil, fault.New(fault.ModelLoad, "model.safetensors.index.json names %q, which is not a file of the folder", name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, fault.New(fault.ModelLoad, "shard %s is named by model.safetensors.index.json and missing", name)
		}
	}
	if len(names) == 0 {
		return nil, fault.New(fault.ModelLoad, "model.safetensors.index.json has an empty weight_map")
	}
	return names, nil
}

func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfigBytes {
		return nil, fault.New(fault.ModelLoad, "%s has %d bytes, at most %d are read", filepath.Base(path), info.Size(), maxConfigBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.ModelLoad, "%s cannot be read", filepath.Base(path))
	}
	return raw, nil
}

func (f *folder) Config() *Config   { return f.config }
func (f *folder) TotalBytes() int64 { return f.total }

// Arrays leaves quantised matrices as they are: their parts are separate tensors of the format.
func (f *folder) Arrays(bool) []Array {
	var arrays []Array
	for _, file := range f.files {
		for _, t := range file.Tensors {
			arrays = append(arrays, Array{
				Name: t.Name, File: file.Name(), DType: safetensorsDTypes[t.DType], Shape: t.Shape,
				Fill: func(dst []byte) error {
					return file.Read(t, dst, func(part []byte) error { return refuseNaN(part, safetensorsDTypes[t.DType]) })
				},
			})
		}
	}
	return arrays
}

func (f *folder) Close() error {
	var errs []error
	for _, file := range f.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}
