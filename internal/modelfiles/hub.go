package modelfiles

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The Hugging Face cache: models--org--name/refs/<revision> holds the commit whose files are
// links in models--org--name/snapshots/<commit>.

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

// splitRevision separates "id@revision"; revision, if given, wins. The default is "main".
func splitRevision(name, revision string) (repo, rev string) {
	if repo, rev, ok := strings.Cut(name, "@"); ok && revision == "" {
		return repo, rev
	}
	if revision == "" {
		revision = "main"
	}
	return name, revision
}

func repoFolder(repo string) string { return "models--" + strings.ReplaceAll(repo, "/", "--") }

// inHub looks for a snapshot of name in the Hugging Face cache.
func (r *Resolver) inHub(name, revision string) (path string, found bool, err error) {
	repo, revision := splitRevision(name, revision)
	if r.hubCache == "" || !hubPattern.MatchString(repo) || revision == "" {
		return "", false, nil
	}
	folder := filepath.Join(r.hubCache, repoFolder(repo))
	commit := revision
	if !commitPattern.MatchString(revision) {
		ref, err := os.ReadFile(filepath.Join(folder, "refs", filepath.FromSlash(revision)))
		if err != nil {
			return "", false, nil
		}
		// A file that holds something else could lead out of the cache.
		if commit = strings.TrimSpace(string(ref)); !commitPattern.MatchString(commit) {
			return "", false, nil
		}
	}
	snapshot, err := filepath.Abs(filepath.Join(folder, "snapshots", commit))
	if err != nil {
		return "", false, nil
	}
	return modelAt(snapshot, "the Hugging Face snapshot "+repo+"@"+revision)
}
