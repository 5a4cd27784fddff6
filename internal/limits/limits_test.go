package limits

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const gib = 1 << 30

func TestContainerMemory(t *testing.T) {
	v1 := map[string]string{"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/jobs/7\n0::/\n"}
	for name, test := range map[string]struct {
		files map[string]string
		want  Memory
		ok    bool
	}{
		"no control groups": {},
		"no limit": {files: map[string]string{
			"proc/self/cgroup": "0::/user.slice/app\n", "sys/fs/cgroup/user.slice/app/memory.max": "max\n",
		}},
		"a container's own root": {files: map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     strconv.Itoa(4*gib) + "\n",
			"sys/fs/cgroup/memory.current": strconv.Itoa(3*gib) + "\n",
			"sys/fs/cgroup/memory.stat":    "anon 7\ninactive_file " + strconv.Itoa(gib) + "\nactive_file 5\n",
		}, want: Memory{Limit: 4 * gib, Available: 2 * gib}, ok: true},
		"a path that the container does not see": {files: map[string]string{
			"proc/self/cgroup":             "0::/docker/abc\n",
			"sys/fs/cgroup/memory.max":     strconv.Itoa(2 * gib),
			"sys/fs/cgroup/memory.current": "0",
		}, want: Memory{Limit: 2 * gib, Available: 2 * gib}, ok: true},
		"the tightest of nested groups": {files: map[string]string{
			"proc/self/cgroup":                 "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max":       strconv.Itoa(2 * gib),
			"sys/fs/cgroup/a/memory.current":   strconv.Itoa(gib),
			"sys/fs/cgroup/a/b/memory.max":     strconv.Itoa(3 * gib),
			"sys/fs/cgroup/a/b/memory.current": strconv.Itoa(gib / 2),
		}, want: Memory{Limit: 2 * gib, Available: gib}, ok: true},
		"used up": {files: map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "1000",
			"sys/fs/cgroup/memory.current": "2000",
		}, want: Memory{Limit: 1000}, ok: true},
		"version 1": {files: with(v1, map[string]string{
			"sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": strconv.Itoa(gib),
			"sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes": strconv.Itoa(gib / 2),
			"sys/fs/cgroup/memory/jobs/7/memory.stat":           "inactive_file 9\ntotal_inactive_file " + strconv.Itoa(gib/4) + "\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":        "9223372036854771712",
		}), want: Memory{Limit: gib, Available: gib * 3 / 4}, ok: true},
		"version 1 without a limit": {files: with(v1, map[string]string{
			"sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": "9223372036854771712",
		})},
		"not numbers": {files: map[string]string{
			"proc/self/cgroup": "0\n::\n0::/\n", "sys/fs/cgroup/memory.max": "a lot",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, data := range test.files {
				root[path] = &fstest.MapFile{Data: []byte(data)}
			}
			got, ok := containerMemory(root)
			if got != test.want || ok != test.ok {
				t.Errorf("got %+v, %v; want %+v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func with(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// TestRaiseProcs runs itself, since the variable is read when a process starts.
func TestRaiseProcs(t *testing.T) {
	const inside = "LIMITS_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		RaiseProcs()
		t.Logf("cores=%d procs=%d.", Cores(), runtime.GOMAXPROCS(0))
		return
	}
	for user, want := range map[string]string{
		"":  "cores=" + strconv.Itoa(Cores()) + " procs=" + strconv.Itoa(Cores()+goroutinesBesideC) + ".",
		"3": "cores=3 procs=3.",
	} {
		command := exec.Command(os.Args[0], "-test.run=^TestRaiseProcs$", "-test.v")
		command.Env = append(os.Environ(), inside+"=1", "GOMAXPROCS="+user)
		out, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("GOMAXPROCS=%q: %v, %s; want %s", user, err, out, want)
		}
	}
}
