package exporter

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mlx-worker/batcher"
)

var update = flag.Bool("update", false, "write the golden files again")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample has another value in every field, so that no two metrics can be mistaken.
func sample() batcher.Snapshot {
	latency := func(base time.Duration, count uint64) batcher.Latency {
		return batcher.Latency{P50: base, P95: 2 * base, P99: 3 * base, Count: count}
	}
	return batcher.Snapshot{
		Uptime: 90500 * time.Millisecond, Active: 3, Queued: 4,
		Queue: latency(11*time.Millisecond, 101), TTFT: latency(70*time.Millisecond, 102),
		Token: latency(13*time.Millisecond, 103), Total: latency(1700*time.Microsecond, 104),
		Submitted: 201, Rejected: 202, Completed: 203, Cancelled: 204, TimedOut: 205, Failed: 206, Preempted: 207,
		PromptTokens: 301, CompletionTokens: 302, Steps: 303, Wakeups: 304,
		Throughput: []batcher.Throughput{
			{Window: 5 * time.Second, TokensPerSecond: 5.5, RequestsPerSecond: 0.5},
			{Window: 30 * time.Second, TokensPerSecond: 30.5, RequestsPerSecond: 0.25},
			{Window: time.Minute, TokensPerSecond: 60.5, RequestsPerSecond: 0.125},
		},
		Batch:         batcher.BatchFigures{Rows: 6, MaxRows: 16, Window: 1500 * time.Microsecond, Sizes: map[int]uint64{2: 10, 3: 20, 7: 30}},
		FastPathTotal: 401, DegradationsTotal: 21, RecoveriesTotal: 20,
		Tuner: batcher.TunerFigures{
			Enabled: true, LatencyTarget: 250 * time.Millisecond, P99: 17 * time.Millisecond, P99Average: 19 * time.Millisecond,
			RowLimit: 12, Degraded: true, PrefillBudget: 512, Adjustments: 402,
		},
		Memory: batcher.MemoryFigures{LimitBytes: 1 << 33, WeightsBytes: 1 << 28, ReservedBytes: 1 << 24},
	}
}

func sampleMemory() batcher.Memory {
	return batcher.Memory{ActiveBytes: 1001, CacheBytes: 1002, PeakBytes: 1003, LimitBytes: 1004}
}

func options() Options { return Options{Snapshot: sample, Memory: sampleMemory} }

// ask answers one request without a network.
func ask(t *testing.T, o Options, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	newHandler(o, nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return answer
}

func TestPaths(t *testing.T) {
	loaded := false
	o := options()
	o.Ready = func() bool { return loaded }
	for _, test := range []struct {
		method, path string
		loaded       bool
		code         int
		body         string // "": not checked
	}{
		{"GET", "/health", false, 200, `{"status":"ok"}` + "\n"},
		{"HEAD", "/health", false, 200, ""},
		{"GET", "/ready", false, 503, `{"status":"not ready"}` + "\n"},
		{"GET", "/ready", true, 200, `{"status":"ready"}` + "\n"},
		{"GET", "/metrics", false, 200, ""},
		{"HEAD", "/metrics", false, 200, ""},
		{"GET", "/stats", false, 200, ""},
		{"GET", "/", true, 404, ""},
		{"GET", "/metrics/", true, 404, ""},
		{"GET", "/debug/pprof/", true, 404, ""},
		{"POST", "/metrics", true, 405, ""},
		{"PUT", "/health", true, 405, ""},
		{"DELETE", "/stats", true, 405, ""},
		{"OPTIONS", "/ready", true, 405, ""},
	} {
		loaded = test.loaded
		answer := ask(t, o, test.method, test.path)
		if answer.Code != test.code || test.body != "" && answer.Body.String() != test.body {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.path, answer.Code, answer.Body, test.code, test.body)
		}
		if test.code == 405 && answer.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: allows %q", test.method, test.path, answer.Header().Get("Allow"))
		}
	}
}

func TestMetrics(t *testing.T) {
	answer := ask(t, options(), "GET", "/metrics")
	if got := answer.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	wantGolden(t, "testdata/metrics.txt", answer.Body.String())
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock makes the timestamp known
		answer := ask(t, options(), "GET", "/stats")
		if got := answer.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("content type %q", got)
		}
		wantGolden(t, "testdata/stats.json", answer.Body.String())
	})
}

func wantGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (go test -update writes it again):\n%s", file, got)
	}
}

// TestEmpty asks a worker that has done nothing: no figure may be absent or not a number.
func TestEmpty(t *testing.T) {
	o := Options{
		Snapshot: func() batcher.Snapshot { return batcher.Snapshot{} },
		Memory:   func() batcher.Memory { return batcher.Memory{} },
	}
	for _, path := range []string{"/metrics", "/stats"} {
		answer := ask(t, o, "GET", path)
		if body := answer.Body.String(); answer.Code != 200 || strings.Contains(body, "NaN") || strings.Contains(body, "null") {
			t.Errorf("%s: %d %s", path, answer.Code, body)
		}
	}
	if answer := ask(t, o, "GET", "/metrics"); !strings.Contains(answer.Body.String(), "\nmlx_time_to_first_token_seconds{percentile=\"99\"} 0\n") {
		t.Errorf("no time to first token in\n%s", answer.Body)
	}
}

func TestPortTaken(t *testing.T) {
	first, err := Start(options())
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Port = first.listener.Addr().(*net.TCPAddr).Port
	second, err := Start(o)
	if err == nil {
		_ = second.Close()
		t.Fatal("two servers on one port")
	}
	if !strings.Contains(err.Error(), first.Addr()) {
		t.Errorf("%q does not name %s", err, first.Addr())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := Start(o)
	if err != nil {
		t.Fatalf("the port is still taken after Close: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

func TestConcurrentScrapes(t *testing.T) {
	asked := atomic.Int64{}
	o := options()
	o.Snapshot = func() batcher.Snapshot { asked.Add(1); return sample() }
	e, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	want := ask(t, options(), "GET", "/metrics").Body.String()

	const clients, each = 8, 10
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range each {
				if got := fetch(t, client, "http://"+e.Addr()+"/metrics"); got != want {
					t.Errorf("scraped\n%s", got)
				}
				fetch(t, client, "http://"+e.Addr()+"/stats")
			}
		})
	}
	wait.Wait()
	if got := asked.Load(); got != 2*clients*each {
		t.Errorf("%d snapshots for %d answers", got, 2*clients*each)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	transport.CloseIdleConnections()
}

func fetch(t *testing.T, client *http.Client, url string) string {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("%s: %d, %v", url, answer.StatusCode, err)
	}
	return string(body)
}

// TestCloseWithStalledClients closes while one client has sent half a request, and another takes
// none of its answer.
func TestCloseWithStalledClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		e := serve(network, options())
		half, deaf := network.dial(t), network.dial(t)
		send(t, half, "GET /metrics HTTP/1.1\r\nHost:")
		send(t, deaf, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()

		start := time.Now()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != closeGrace {
			t.Errorf("Close took %v, want the grace of %v", took, closeGrace)
		}
		synctest.Wait() // what served them has noticed; a goroutine left would end the bubble in a deadlock
		for _, client := range []net.Conn{half, deaf} {
			if _, err := io.ReadAll(client); err != nil {
				t.Errorf("reading from a closed server: %v", err)
			}
		}
	})
}

// TestCloseFinishesAnswers closes while a snapshot is taken: the client gets its answer.
func TestCloseFinishesAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		o := options()
		o.Snapshot = func() batcher.Snapshot { time.Sleep(closeGrace / 2); return sample() }
		e := serve(network, o)
		client := network.dial(t)
		send(t, client, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()

		closed := make(chan error)
		go func() { closed <- e.Close() }()
		answer, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(body), "queue_depth") {
			t.Errorf("%q, %v", body, err)
		}
		_ = answer.Body.Close()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// TestTimeouts: a client that says nothing, or stops in the middle, is cut off.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		e := serve(network, options())
		for _, test := range []struct {
			request string
			after   time.Duration
		}{
			{"GET /metrics HTTP/1.1\r\nHost:", headerTimeout},
			{"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", readTimeout},
			{"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
		} {
			client := network.dial(t)
			start := time.Now()
			send(t, client, test.request)
			if _, err := io.ReadAll(client); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != test.after {
				t.Errorf("%.20q: cut off after %v, want %v", test.request, took, test.after)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

func send(t *testing.T, client net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
}

// pipes is a listener whose connections live in the test's bubble.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func newPipes() *pipes { return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})} }

// dial connects; the client's end is closed when the test ends.
func (p *pipes) dial(t *testing.T) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	p.connections <- server
	return client
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, errors.New("closed")
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
