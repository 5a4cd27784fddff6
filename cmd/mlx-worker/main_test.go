package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"mlx-worker/envcfg"
)

// The tests run this binary again as the worker: with asWorker set, TestMain is main.
const (
	asWorker = "TEST_AS_WORKER"
	asNoisy  = "noisy" // value of asWorker: descriptor 1 is written to all the time
)

func TestMain(m *testing.M) {
	switch os.Getenv(asWorker) {
	case "":
		os.Exit(m.Run())
	case asNoisy:
		go makeNoise()
	}
	main()
}

// makeNoise prints what a library might print, as soon as descriptor 1 is no longer the
// protocol's: it is the same file as descriptor 2 then.
func makeNoise() {
	var one, two syscall.Stat_t
	for {
		if syscall.Fstat(1, &one) == nil && syscall.Fstat(2, &two) == nil && one.Ino == two.Ino && one.Dev == two.Dev {
			_, _ = syscall.Write(1, []byte("noise\n"))
		}
		time.Sleep(time.Millisecond)
	}
}

// patience bounds waits for things that must happen; no test passes because it ran out.
const patience = 60 * time.Second

func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(append(os.Environ(), asWorker+"=yes"), env...)
	return cmd
}

// runWorker runs the worker to its end and returns what it printed and its exit code.
func runWorker(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errors.String(), cmd.ProcessState.ExitCode()
}

func TestFlags(t *testing.T) {
	stdout, _, code := runWorker(t, nil, "--version")
	if code != 0 || stdout != "mlx-worker "+version+"\n" {
		t.Errorf("--version: exit %d, %q", code, stdout)
	}
	stdout, _, code = runWorker(t, nil, "--help")
	for _, v := range envcfg.Variables {
		if !strings.Contains(stdout, v.Name) || !strings.Contains(stdout, v.Accepts) {
			t.Errorf("--help does not explain %s", v.Name)
		}
	}
	if code != 0 {
		t.Errorf("--help: exit %d", code)
	}
	for _, args := range [][]string{{"--frobnicate"}, {"serve"}, {"--version", "extra"}} {
		stdout, stderr, code := runWorker(t, nil, args...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "accepted: --help") {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	for name, value := range map[string]string{"MLX_FAST_PATH": "maybe", "MLX_MAX_FRAME_BYTES": "-1", "MLX_LOG_LEVEL": "loud"} {
		stdout, stderr, code := runWorker(t, []string{name + "=" + value})
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
		for _, want := range []string{name, value, "accepted"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: %q does not say %q", name, stderr, want)
			}
		}
	}
}

func TestCheckPrintsTheDevice(t *testing.T) {
	stdout, stderr, code := runWorker(t, nil, "--check")
	var got struct {
		MLXVersion string `json:"mlx_version"`
		Backend    string
		Device     struct {
			Name        string
			MemoryBytes int64 `json:"memory_bytes"`
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit %d, stdout %q, stderr %q: %v", code, stdout, stderr, err)
	}
	if got.MLXVersion == "" || got.Backend == "" || got.Device.Name == "" || got.Device.MemoryBytes <= 0 {
		t.Errorf("got %+v", got)
	}
}

func TestEngineThatCannotStart(t *testing.T) {
	if stdout, _, _ := runWorker(t, nil, "--check"); !strings.Contains(stdout, `"cpu"`) {
		t.Skip("this machine has a GPU, so asking for one does not fail")
	}
	for _, args := range [][]string{{"--check"}, nil} {
		stdout, stderr, code := runWorker(t, []string{"MLX_DEVICE=gpu"}, args...)
		if code != 3 || stdout != "" || stderr == "" {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// worker is a running worker process and its client.
type worker struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	lastID int

	mu     sync.Mutex
	stderr bytes.Buffer
}

func (w *worker) Write(p []byte) (int, error) { // of stderr
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stderr.Write(p)
}

func (w *worker) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stderr.String()
}

// startWorker starts the worker and reads its first frame.
func startWorker(t *testing.T, env ...string) *worker {
	t.Helper()
	w := &worker{t: t, cmd: command(t, env)}
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if w.stdout, err = w.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	w.cmd.Stderr = w
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	t.Cleanup(func() {
		stuck.Stop()
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	})
	if first := w.read(); first["method"] != "worker/ready" {
		t.Fatalf("the first frame is %v", first)
	}
	return w
}

// exit waits for the end of the process and returns its exit code; -1: killed by a signal.
func (w *worker) exit() int {
	_, _ = io.Copy(io.Discard, w.stdout)
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode()
}

func (w *worker) read() map[string]any {
	w.t.Helper()
	var length [4]byte
	if _, err := io.ReadFull(w.stdout, length[:]); err != nil {
		w.t.Fatalf("reading a frame: %v; stderr: %s", err, w.log())
	}
	body := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(w.stdout, body); err != nil {
		w.t.Fatalf("reading a frame: %v; stderr: %s", err, w.log())
	}
	dec := msgpack.NewDecoder(bytes.NewReader(body))
	dec.UseLooseInterfaceDecoding(true)
	message, err := dec.DecodeMap()
	if err != nil {
		w.t.Fatalf("%v in % x; stderr: %s", err, body, w.log())
	}
	return message
}

func (w *worker) frame(body []byte) {
	w.t.Helper()
	if _, err := w.stdin.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		w.t.Fatalf("%v; stderr: %s", err, w.log())
	}
}

// call returns the response to a request; notifications before it are dropped.
func (w *worker) call(method string, params any) map[string]any {
	w.t.Helper()
	w.lastID++
	body, err := msgpack.Marshal(map[string]any{"jsonrpc": "2.0", "id": w.lastID, "method": method, "params": params})
	if err != nil {
		w.t.Fatal(err)
	}
	w.frame(body)
	for {
		if m := w.read(); m["method"] == nil {
			return m
		}
	}
}

// fails checks that a request gets an error of this kind and returns it.
func (w *worker) fails(method string, params any, kind string) map[string]any {
	w.t.Helper()
	response := w.call(method, params)
	failure, _ := response["error"].(map[string]any)
	data, _ := failure["data"].(map[string]any)
	if data["kind"] != kind {
		w.t.Errorf("%s(%v) = %v, want %s", method, params, response, kind)
	}
	return failure
}

// works checks that the worker still serves.
func (w *worker) works() {
	w.t.Helper()
	if r := w.call("ping", nil); r["result"] == nil {
		w.t.Fatalf("ping = %v", r)
	}
}

func TestNothingButFramesOnStdout(t *testing.T) {
	w := startWorker(t, asWorker+"="+asNoisy)
	for range 200 {
		w.works()
	}
	if log := w.log(); !strings.Contains(log, "MLX Runtime ready\n") || !strings.Contains(log, "noise\n") {
		t.Errorf("stderr is %q", log)
	}
}

func TestEndOfStdin(t *testing.T) {
	w := startWorker(t)
	_ = w.stdin.Close()
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d; stderr: %s", code, w.log())
	}
}

func TestShutdown(t *testing.T) {
	w := startWorker(t)
	if r := w.call("shutdown", nil); r["error"] != nil {
		t.Errorf("shutdown = %v", r)
	}
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d; stderr: %s", code, w.log())
	}
}

func TestSignals(t *testing.T) {
	w := startWorker(t)
	for range 3 {
		if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		w.works()
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM; stderr: %s", code, w.log())
	}
}

func TestStdoutThatCannotBeWritten(t *testing.T) {
	w := startWorker(t)
	_ = w.stdout.Close()
	body, err := msgpack.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "ping"})
	if err != nil {
		t.Fatal(err)
	}
	w.frame(body)
	if code := w.exit(); code != 70 {
		t.Errorf("exit code %d, want 70; stderr: %s", code, w.log())
	}
}

func TestFrameGarbage(t *testing.T) {
	w := startWorker(t, "MLX_MAX_FRAME_BYTES=65536")
	for _, body := range [][]byte{nil, {0xc1}, []byte("Content-Length: 2\r\n\r\n{}"), bytes.Repeat([]byte{0x91}, 60_000), make([]byte, 70_000)} {
		w.frame(body)
		if r := w.read(); r["error"] == nil || r["id"] != nil {
			t.Errorf("%.20q: got %v", body, r)
		}
		w.works()
	}
	w.fails("no_such_method", nil, "MethodNotFound")
	w.fails("ping", map[string]any{"nonsense": 1}, "InvalidParams")
}
