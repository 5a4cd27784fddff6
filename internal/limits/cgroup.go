package limits

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// hierarchy is the memory controller of one version of control groups, as mounted.
type hierarchy struct {
	dirs         []string // of the process's group and all around it
	limit, usage string   // file names
	reclaimable  string   // key of memory.stat: file pages that nobody used lately
}

// noLimit is from where version 1 means that there is no limit: it says so with a large number.
const noLimit = math.MaxInt64 / 2

// hierarchies finds the groups that limit the process. A container may see its own group as the
// root of the mount, under whatever path /proc names; directories that are not there limit nothing.
func hierarchies(root fs.FS) (all []hierarchy) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // number:controllers:path
		if len(fields) < 3 {
			continue
		}
		switch {
		case fields[0] == "0" && fields[1] == "":
			all = append(all, hierarchy{upwards("sys/fs/cgroup", fields[2]), "memory.max", "memory.current", "inactive_file"})
		case contains(fields[1], "memory"):
			all = append(all, hierarchy{upwards("sys/fs/cgroup/memory", fields[2]), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"})
		}
	}
	return all
}

func contains(controllers, name string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// upwards lists the directory of the group below mount and those above it, down to the mount.
func upwards(mount, group string) (dirs []string) {
	for group = path.Clean("/" + group); group != "/"; group = path.Dir(group) {
		dirs = append(dirs, mount+group)
	}
	return append(dirs, mount)
}

// read returns the limit of one group, if it has one.
func (h hierarchy) read(root fs.FS, dir string) (Memory, bool) {
	limit, ok := number(root, path.Join(dir, h.limit))
	if !ok || limit >= noLimit {
		return Memory{}, false
	}
	m := Memory{Limit: limit, Available: limit}
	if used, ok := number(root, path.Join(dir, h.usage)); ok {
		m.Available = max(0, limit-max(0, used-h.inactive(root, dir)))
	}
	return m, true
}

// inactive is how many of the group's bytes the kernel takes back first, 0 if it does not say.
func (h hierarchy) inactive(root fs.FS, dir string) int64 {
	stat, err := fs.ReadFile(root, path.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(stat)) {
		if value, ok := strings.CutPrefix(line, h.reclaimable+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// number reads a file that holds one; "max", which is no limit, is none.
func number(root fs.FS, name string) (int64, bool) {
	raw, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return n, err == nil
}
