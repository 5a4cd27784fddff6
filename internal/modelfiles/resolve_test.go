package modelfiles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlx-worker/envcfg"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/modelfiles"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// world is a disk with a home, MLX_MODELS_DIR and a Hugging Face cache.
type world struct {
	t    *testing.T
	root string
}

func newWorld(t *testing.T) world {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Join(root, "home"))
	return world{t, root}
}

func (w world) path(parts ...string) string {
	return filepath.Join(append([]string{w.root}, parts...)...)
}

func (w world) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) link(target, name string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(target, w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) resolver() *modelfiles.Resolver {
	return modelfiles.NewResolver(envcfg.Models{Dir: w.path("models"), HFHome: w.path("hf")})
}

func (w world) populate() {
	w.write("models/folder/config.json", "{}")
	w.write("models/org/name/config.json", "{}")
	w.write("models/file.gguf", "")
	w.write("models/dotted-v1.5.gguf", "")
	w.write("models/one/only.gguf", "")
	w.write("models/several/a.gguf", "")
	w.write("models/several/b.GGUF", "")
	w.write("models/empty/readme.txt", "")
	w.write("models/text.txt", "")
	w.write("models/both/config.json", "{}")
	w.write("elsewhere/config.json", "{}")
	w.write("home/m/config.json", "{}")
	w.link(w.path("elsewhere"), "models/linked")
	w.link(w.path("models/file.gguf"), "models/alias.gguf")
	w.link("nowhere", "models/dangling")

	const repo = "hf/hub/models--org--hub/"
	w.write(repo+"blobs/aaaa", "{}")
	w.link("../../blobs/aaaa", repo+"snapshots/"+commit+"/config.json")
	w.write(repo+"refs/main", commit+"\n")
	w.write(repo+"refs/v1.0", commit)
	w.write(repo+"refs/refs/pr/1", commit)
	w.write(repo+"refs/evil", "../../../../models/folder")
	w.write("hf/hub/models--gguf/blobs/bbbb", "GGUF")
	w.link("../../blobs/bbbb", "hf/hub/models--gguf/snapshots/"+commit+"/q4.gguf")
	w.write("hf/hub/models--gguf/refs/main", commit)
	w.write("hf/hub/models--both/refs/main", commit)
	w.write("hf/hub/models--both/snapshots/"+commit+"/config.json", "{}")
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	w.populate()
	t.Chdir(w.path("models"))
	snapshot := func(repo string) string { return w.path("hf", "hub", repo, "snapshots", commit) }
	for _, c := range []struct {
		name, id, local, revision, want string
	}{
		{"local folder", "x", w.path("elsewhere"), "", w.path("elsewhere")},
		{"local file", "x", w.path("models/file.gguf"), "", w.path("models/file.gguf")},
		{"relative folder", "x", "folder", "", w.path("models/folder")},
		{"relative with dots", "x", "../elsewhere/.", "", w.path("elsewhere")},
		{"home", "x", "~/m", "", w.path("home/m")},
		{"linked folder", "x", w.path("models/linked"), "", w.path("elsewhere")},
		{"linked file", "x", w.path("models/alias.gguf"), "", w.path("models/file.gguf")},
		{"folder with one gguf", "x", "one", "", w.path("models/one/only.gguf")},
		{"local cached gguf keeps its suffix", "x", snapshot("models--gguf") + "/q4.gguf", "", snapshot("models--gguf") + "/q4.gguf"},
		{"local wins", "folder", w.path("elsewhere"), "", w.path("elsewhere")},

		{"models dir", "folder", "", "", w.path("models/folder")},
		{"models dir with org", "org/name", "", "", w.path("models/org/name")},
		{"models dir gguf", "file", "", "", w.path("models/file.gguf")},
		{"models dir gguf by its whole name", "file.gguf", "", "", w.path("models/file.gguf")},
		{"models dir gguf with dots", "dotted-v1.5", "", "", w.path("models/dotted-v1.5.gguf")},
		{"models dir linked", "linked", "", "", w.path("elsewhere")},
		{"models dir before hub", "both", "", "", w.path("models/both")},

		{"hub", "org/hub", "", "", snapshot("models--org--hub")},
		{"hub by scheme", "hf://both", "", "", snapshot("models--both")},
		{"hub tag", "org/hub", "", "v1.0", snapshot("models--org--hub")},
		{"hub tag in the id", "org/hub@v1.0", "", "", snapshot("models--org--hub")},
		{"hub pull request", "org/hub", "", "refs/pr/1", snapshot("models--org--hub")},
		{"hub commit", "org/hub", "", commit, snapshot("models--org--hub")},
		{"a revision skips the models dir", "both", "", "main", snapshot("models--both")},
		{"hub gguf", "gguf", "", "", snapshot("models--gguf") + "/q4.gguf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := w.resolver().Resolve(c.id, c.local, c.revision)
			if err != nil || got != c.want {
				t.Errorf("Resolve(%q, %q, %q) = %q, %v, want %q", c.id, c.local, c.revision, got, err, c.want)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	w := newWorld(t)
	w.populate()
	t.Chdir(w.root)
	for _, c := range []struct {
		name, id, local, revision string
		kind                      fault.Kind
		want                      string
	}{
		{"empty id", "", "", "", fault.InvalidParams, "model_id is empty"},
		{"parent", "../elsewhere", "", "", fault.InvalidParams, `model_id is a path with empty, "." or ".." parts`},
		{"inner parent", "a/../../elsewhere", "", "", fault.InvalidParams, "model_id"},
		{"absolute", "/etc", "", "", fault.InvalidParams, "model_id"},
		{"dot", "./folder", "", "", fault.InvalidParams, "model_id"},
		{"empty part", "a//b", "", "", fault.InvalidParams, "model_id"},
		{"scheme and parent", "hf://../x", "", "", fault.InvalidParams, "model_id"},
		{"characters", "a b", "", "", fault.InvalidParams, "A-Z a-z 0-9"},
		{"NUL", "a\x00", "", "", fault.InvalidParams, "model_id"},
		{"long", strings.Repeat("a", 513), "", "", fault.InvalidParams, "up to 512"},
		{"revision", "org/hub", "", "../../x", fault.InvalidParams, "revision"},
		{"revision with a local path", "x", "elsewhere", "main", fault.InvalidParams, "does not go with local_path"},
		{"NUL in a local path", "x", "a\x00b", "", fault.InvalidParams, "NUL"},

		{"missing local path", "x", "none/such", "", fault.ModelLoad, `local_path "none/such" does not exist`},
		{"dangling local path", "x", "models/dangling", "", fault.ModelLoad, `does not exist`},
		{"folder without config.json", "x", "models/empty", "", fault.ModelLoad, "without config.json"},
		{"neither", "x", "models/text.txt", "", fault.ModelLoad, "neither a folder nor a .gguf file"},
		{"several", "x", "models/several", "", fault.ModelLoad, "several .gguf files (a.gguf, b.GGUF)"},
		{"below a file", "x", "models/text.txt/sub", "", fault.ModelLoad, "cannot be read: not a directory"},

		{"unknown id", "no/such", "", "", fault.ModelLoad, `model "no/such" was not found: looked in MLX_MODELS_DIR (no/such, no/such.gguf) and the Hugging Face cache (models--no--such, revision main)`},
		{"unusable folder", "empty", "", "", fault.ModelLoad, `"empty" in MLX_MODELS_DIR is a folder without config.json`},
		{"unknown revision", "org/hub", "", "v2", fault.ModelLoad, "looked in the Hugging Face cache (models--org--hub, revision v2)"},
		{"unknown commit", "org/hub", "", strings.Repeat("f", 40), fault.ModelLoad, "was not found"},
		{"reference that leads out", "org/hub", "", "evil", fault.ModelLoad, "was not found"},
		{"deep id", "a/b/c", "", "", fault.ModelLoad, "was not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := w.resolver().Resolve(c.id, c.local, c.revision)
			if !fault.Is(err, c.kind) || got != "" {
				t.Fatalf("Resolve: %q, %v of kind %s, want kind %s", got, err, fault.KindOf(err), c.kind)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), w.root) {
				t.Errorf("error %q holds a path that the request did not name", err)
			}
		})
	}
}

func TestFoldersOfTheEnvironment(t *testing.T) {
	w := newWorld(t)
	w.write("home/.cache/huggingface/hub/models--a/snapshots/"+commit+"/config.json", "{}")
	w.write("home/.cache/huggingface/hub/models--a/refs/main", commit)
	w.write("cache/models--a/snapshots/"+commit+"/config.json", "{}")
	w.write("cache/models--a/refs/main", commit)
	w.write("home/models/m/config.json", "{}")
	w.write("here/m/config.json", "{}")
	t.Chdir(w.root)
	for _, c := range []struct {
		env      envcfg.Models
		id, want string
	}{
		{envcfg.Models{}, "a", "home/.cache/huggingface/hub/models--a/snapshots/" + commit},
		{envcfg.Models{HFHubCache: w.path("cache"), HFHome: w.path("hf")}, "a", "cache/models--a/snapshots/" + commit},
		{envcfg.Models{HFHome: "~/.cache/huggingface"}, "a", "home/.cache/huggingface/hub/models--a/snapshots/" + commit},
		{envcfg.Models{Dir: "~/models"}, "m", "home/models/m"},
		{envcfg.Models{Dir: "here"}, "m", "here/m"},
	} {
		got, err := modelfiles.NewResolver(c.env).Resolve(c.id, "", "")
		if err != nil || got != w.path(c.want) {
			t.Errorf("%+v: %q, %v, want %q", c.env, got, err, w.path(c.want))
		}
	}
	if _, err := modelfiles.NewResolver(envcfg.Models{}).Resolve("m", "", ""); err == nil || !strings.Contains(err.Error(), "MLX_MODELS_DIR (not set)") {
		t.Errorf("error %v", err)
	}
}
