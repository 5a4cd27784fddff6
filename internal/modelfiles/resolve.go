// Package modelfiles finds models on disk and opens their text side. It never uses a network.
package modelfiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mlx-worker/envcfg"
	"mlx-worker/internal/fault"
)

// Resolver finds a model's files. It is immutable; its methods may be called from any goroutine.
type Resolver struct {
	modelsDir string // "": none
	hubCache  string // "": none
}

// NewResolver looks in the folders that env names, with their defaults.
func NewResolver(env envcfg.Models) *Resolver {
	r := &Resolver{}
	if env.Dir != "" {
		r.modelsDir = expandHome(env.Dir)
	}
	switch {
	case env.HFHubCache != "":
		r.hubCache = expandHome(env.HFHubCache)
	case env.HFHome != "":
		r.hubCache = filepath.Join(expandHome(env.HFHome), "hub")
	default:
		if home, err := os.UserHomeDir(); err == nil {
			r.hubCache = filepath.Join(home, ".cache", "huggingface", "hub")
		}
	}
	return r
}

// Resolve returns the absolute path of a model: a folder with config.json, or a .gguf file.
//
// A localPath is taken as it is: "~" is the home folder, a relative path counts from the
// working directory. Otherwise id is looked for in MLX_MODELS_DIR, as a folder or as
// id + ".gguf", then in the Hugging Face cache, where revision names a branch, tag or commit
// (default "main"). "hf://id" and "id@revision" are other forms of the latter; an id with a
// revision is looked for in the cache only. A folder may hold a single .gguf file instead.
//
// Symlinks are resolved, so that one model has one path. Errors are *fault.Error of kind
// ModelLoad, or InvalidParams (data: param) for an id or a revision of a wrong form. They name
// the request's own words and no path besides.
func (r *Resolver) Resolve(id, localPath, revision string) (path string, err error) {
	if err := checkName("model_id", id); err != nil {
		return "", err
	}
	if revision != "" {
		if err := checkName("revision", revision); err != nil {
			return "", err
		}
	}
	if localPath != "" {
		if revision != "" {
			return "", fault.New(fault.InvalidParams, "revision names a snapshot of the Hugging Face cache; it does not go with local_path").With("param", "revision")
		}
		return resolveLocal(localPath)
	}
	name, hubOnly := strings.CutPrefix(id, "hf://")
	var tried []string
	if !hubOnly && revision == "" {
		path, found, err := r.inModelsDir(name)
		if found || err != nil {
			return path, err
		}
		tried = append(tried, r.triedModelsDir(name))
	}
	path, found, err := r.inHub(name, revision)
	if found || err != nil {
		return path, err
	}
	repo, revision := splitRevision(name, revision)
	tried = append(tried, "the Hugging Face cache ("+repoFolder(repo)+", revision "+revision+")")
	return "", fault.New(fault.ModelLoad, "model %q was not found: looked in %s", id, strings.Join(tried, " and ")).With("model_id", id)
}

const maxNameLength = 512

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_\-./@:]+$`)
	hubPattern  = regexp.MustCompile(`^[A-Za-z0-9_\-.]+(/[A-Za-z0-9_\-.]+)?$`)
)

// checkName refuses what could leave a folder that it is joined to.
func checkName(param, name string) error {
	why := ""
	rest := strings.TrimPrefix(name, "hf://")
	switch {
	case name == "":
		why = "is empty"
	case len(name) > maxNameLength:
		why = "is too long"
	case !namePattern.MatchString(name):
		why = "has other characters"
	case strings.Contains(rest, ".."), strings.Contains(rest, "//"), strings.HasPrefix(rest, "/"), strings.HasSuffix(rest, "/"),
		slices.Contains(strings.Split(rest, "/"), "."):
		why = "is a path with empty, \".\" or \"..\" parts"
	default:
		return nil
	}
	return fault.New(fault.InvalidParams, `%s %s; accepted: up to %d of the characters A-Z a-z 0-9 _ - . / @ :, without ".."`, param, why, maxNameLength).
		With("param", param)
}

func resolveLocal(given string) (string, error) {
	if strings.ContainsRune(given, 0) {
		return "", fault.New(fault.InvalidParams, "local_path holds a NUL byte").With("param", "local_path")
	}
	path, err := filepath.Abs(expandHome(given))
	if err != nil {
		return "", fault.New(fault.ModelLoad, "local_path %q: the working directory is gone", given).With("local_path", given)
	}
	path, found, err := modelAt(path, "local_path "+quoted(given))
	if err == nil && !found {
		err = fault.New(fault.ModelLoad, "local_path %q does not exist", given)
	}
	if err != nil {
		return "", err.(*fault.Error).With("local_path", given)
	}
	return path, nil
}

// inModelsDir looks for MLX_MODELS_DIR/name and name.gguf.
func (r *Resolver) inModelsDir(name string) (path string, found bool, err error) {
	if r.modelsDir == "" {
		return "", false, nil
	}
	for _, suffix := range []string{"", ".gguf"} {
		path, err := filepath.Abs(filepath.Join(r.modelsDir, filepath.FromSlash(name)+suffix))
		if err != nil {
			return "", false, fault.New(fault.ModelLoad, "MLX_MODELS_DIR is relative and the working directory is gone")
		}
		path, found, err := modelAt(path, quoted(name+suffix)+" in MLX_MODELS_DIR")
		if found || err != nil {
			return path, found, err
		}
	}
	return "", false, nil
}

func (r *Resolver) triedModelsDir(name string) string {
	if r.modelsDir == "" {
		return "MLX_MODELS_DIR (not set)"
	}
	return "MLX_MODELS_DIR (" + name + ", " + name + ".gguf)"
}

// modelAt examines path; what names it in errors. A path where nothing is, is not found.
func modelAt(path, what string) (model string, found bool, err error) {
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, unreadable(what, err)
	case stat.IsDir():
		return modelInFolder(path, what)
	case !isGGUF(path) || !stat.Mode().IsRegular():
		return "", false, fault.New(fault.ModelLoad, "%s is neither a folder nor a .gguf file", what)
	}
	// Only the folder's symlinks are resolved if the file's own one leads to a name without
	// the suffix, as in the Hugging Face cache.
	if real, err := filepath.EvalSymlinks(path); err == nil && isGGUF(real) {
		return real, true, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", false, unreadable(what, err)
	}
	return filepath.Join(dir, filepath.Base(path)), true, nil
}

// modelInFolder finds config.json, or the only .gguf file.
func modelInFolder(dir, what string) (model string, found bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false, unreadable(what, err)
	}
	var ggufs []string
	for _, entry := range entries {
		if entry.Name() == "config.json" {
			real, err := filepath.EvalSymlinks(dir)
			if err != nil {
				return "", false, unreadable(what, err)
			}
			return real, true, nil
		}
		if isGGUF(entry.Name()) {
			ggufs = append(ggufs, entry.Name())
		}
	}
	switch len(ggufs) {
	case 0:
		return "", false, fault.New(fault.ModelLoad, "%s is a folder without config.json or a .gguf file", what).With("missing", "config.json")
	case 1:
		return modelAt(filepath.Join(dir, ggufs[0]), what)
	}
	return "", false, fault.New(fault.ModelLoad, "%s is a folder with several .gguf files (%s); name one of them", what, strings.Join(ggufs, ", "))
}

// unreadable drops the path from a file system's error.
func unreadable(what string, err error) *fault.Error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fault.New(fault.ModelLoad, "%s cannot be read: %w", what, err)
}

func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

func quoted(s string) string { return `"` + s + `"` }

// expandHome replaces a leading "~"; "~user" is a name like any other.
func expandHome(path string) string {
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, path[1:])
}
