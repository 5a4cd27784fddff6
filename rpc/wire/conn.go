package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/sourcegraph/jsonrpc2"
)

// DefaultMaxFrameBytes is the largest body of a frame where nothing else is said.
const DefaultMaxFrameBytes = 64 << 20

// Error is the error member of a response.
type Error struct {
	Code    int
	Message string
	Data    map[string]any // "kind" and whatever belongs to it
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Request is a received request or notification. Params is nil where there were none or nil;
// it aliases the frame, which belongs to the request alone.
type Request struct {
	ID           jsonrpc2.ID
	Notification bool
	Method       string
	Params       Value
}

// Config sets up a Conn. In, Out and Handle are required.
type Config struct {
	In  io.ReadCloser
	Out io.WriteCloser
	// MaxFrameBytes limits the body of a frame in both directions; 0: DefaultMaxFrameBytes.
	MaxFrameBytes int
	// Handle is called for every request, in order, from the reader's goroutine. It must not
	// wait for anything that needs the connection; Post is the way to answer from there.
	Handle func(Request)
	// InputEnded is called once, when nothing can be read any more: with nil at a clean end,
	// io.ErrUnexpectedEOF at an end inside a frame, or the error of a read that failed. The
	// connection can still send. It must not wait.
	InputEnded func(error)
	Logger     *slog.Logger // nil: slog.Default()
}

// Conn is the worker's end of a connection. It only serves: it answers requests and sends
// notifications. All methods but Close may be used by many goroutines at once.
type Conn struct {
	cfg    Config
	rpc    *jsonrpc2.Conn
	stream *stream
	writer *writer
}

// NewConn prepares a connection that can send at once. Nothing is read before Start.
func NewConn(cfg Config) *Conn {
	if cfg.MaxFrameBytes == 0 {
		cfg.MaxFrameBytes = DefaultMaxFrameBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.InputEnded == nil {
		cfg.InputEnded = func(error) {}
	}
	c := &Conn{cfg: cfg, writer: newWriter(cfg.Out)}
	c.stream = newStream(c)
	// The connection's life is Close's to end, not a context's: it has to outlive the
	// cancelling of the work in order to tell about it.
	c.rpc = jsonrpc2.NewConn(context.Background(), c.stream, handler(cfg.Handle),
		jsonrpc2.OnSend(c.stream.onSend), jsonrpc2.OnRecv(c.stream.onRecv),
		jsonrpc2.SetLogger(slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn)))
	return c
}

type handler func(Request)

func (h handler) Handle(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) {
	req := Request{ID: r.ID, Notification: r.Notif, Method: r.Method}
	if r.Params != nil {
		req.Params = Value(*r.Params)
	}
	h(req)
}

// Start begins to read requests. It may be called once.
func (c *Conn) Start() { close(c.stream.started) }

// Reply answers a request with an encoded result. It waits while the queue to the peer is
// full, until ctx ends. A result that does not fit into a frame becomes an error.
func (c *Conn) Reply(ctx context.Context, id jsonrpc2.ID, result []byte) error {
	size := len(result) + len(id.Str) + envelopeSize
	if size > c.cfg.MaxFrameBytes {
		return c.ReplyError(ctx, id, c.tooLarge("the response", size))
	}
	raw := json.RawMessage(result)
	return c.send(ctx, size, func() error {
		return c.rpc.SendResponse(ctx, &jsonrpc2.Response{ID: id, Result: &raw})
	})
}

// ReplyError answers a request with an error. It waits like Reply.
func (c *Conn) ReplyError(ctx context.Context, id jsonrpc2.ID, e *Error) error {
	respErr, err := encodeError(e)
	if err != nil {
		return err
	}
	return c.send(ctx, errorSize(id, respErr), func() error { return c.rpc.ReplyWithError(ctx, id, respErr) })
}

// Notify sends a notification with encoded params. It waits like Reply.
func (c *Conn) Notify(ctx context.Context, method string, params []byte) error {
	size := len(params) + len(method) + envelopeSize
	if size > c.cfg.MaxFrameBytes {
		return c.tooLarge("a "+method+" notification", size)
	}
	return c.send(ctx, size, func() error {
		return c.rpc.Notify(ctx, method, nil, rawParams(params))
	})
}

// TryNotify is Notify for what may be lost: it reports false, and sends nothing, where Notify
// would wait.
func (c *Conn) TryNotify(method string, params []byte) (bool, error) {
	size := len(params) + len(method) + envelopeSize
	ok, _, err := c.writer.tryReserve(size)
	if !ok {
		return false, err
	}
	defer c.writer.release(size)
	err = c.rpc.Notify(context.Background(), method, nil, rawParams(params))
	return err == nil, err
}

// Post answers a request with an encoded result without ever waiting. It is for small
// answers from the reader's goroutine; a peer that takes none of them fails the connection.
func (c *Conn) Post(id jsonrpc2.ID, result []byte) error {
	if err := c.writer.borrow(len(result) + len(id.Str) + envelopeSize); err != nil {
		return err
	}
	raw := json.RawMessage(result)
	return c.rpc.SendResponse(context.Background(), &jsonrpc2.Response{ID: id, Result: &raw})
}

// PostError is Post for an error.
func (c *Conn) PostError(id jsonrpc2.ID, e *Error) error {
	respErr, err := encodeError(e)
	if err != nil {
		return err
	}
	if err := c.writer.borrow(errorSize(id, respErr)); err != nil {
		return err
	}
	return c.rpc.ReplyWithError(context.Background(), id, respErr)
}

// send runs f, which sends at most size bytes, when they have room.
func (c *Conn) send(ctx context.Context, size int, f func() error) error {
	if err := c.writer.reserve(ctx, size); err != nil {
		return err
	}
	defer c.writer.release(size)
	return f()
}

// Failed is closed when nothing can be sent any more because a write failed or the peer
// stalled for good; Err then tells why.
func (c *Conn) Failed() <-chan struct{} { return c.writer.failed }

// Fail makes the connection fail with err, for a sender that cannot go on.
func (c *Conn) Fail(err error) {
	c.writer.mu.Lock()
	defer c.writer.mu.Unlock()
	c.writer.fail(err)
}

// Err returns what closed Failed.
func (c *Conn) Err() error { return c.writer.failure() }

// Close writes what is queued until ctx ends, and closes both streams. It returns when the
// goroutines have ended, as far as closing a stream wakes those who use it; ctx bounds that
// wait too.
func (c *Conn) Close(ctx context.Context) error {
	err := c.writer.flush(ctx)
	c.stream.release()
	_ = c.rpc.Close() // closes the input; the error of a second Close tells nothing
	for _, ended := range []<-chan struct{}{c.writer.done, c.stream.ended} {
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	return err
}

func (c *Conn) tooLarge(what string, size int) *Error {
	return &Error{
		Code:    jsonrpc2.CodeInvalidRequest,
		Message: fmt.Sprintf("%s has %d bytes, a frame holds at most %d (MLX_MAX_FRAME_BYTES)", what, size, c.cfg.MaxFrameBytes),
		Data:    map[string]any{"kind": "FrameTooLarge", "limit": c.cfg.MaxFrameBytes},
	}
}

// stream is the jsonrpc2.ObjectStream of a Conn.
type stream struct {
	conn    *Conn
	frames  *frameReader
	started chan struct{} // closed by Start
	ended   chan struct{} // closed when the reader's goroutine has left ReadObject for good

	released    chan struct{} // closed when the reader may end the connection
	releaseOnce sync.Once

	in message // owned by the reader's goroutine

	// Owned by the holder of jsonrpc2's send lock.
	outRequest  *jsonrpc2.Request
	outResponse *jsonrpc2.Response
	envelope    envelope
}

func newStream(c *Conn) *stream {
	return &stream{
		conn:     c,
		frames:   newFrameReader(c.cfg.In, c.cfg.MaxFrameBytes),
		started:  make(chan struct{}),
		ended:    make(chan struct{}),
		released: make(chan struct{}),
		envelope: newEnvelope(),
	}
}

func (s *stream) release() { s.releaseOnce.Do(func() { close(s.released) }) }

// ReadObject reads the next request into v. Frames that hold none are answered here: an
// error returned to jsonrpc2 would close the connection.
func (s *stream) ReadObject(v any) error {
	select {
	case <-s.started:
	case <-s.released:
		close(s.ended)
		return io.EOF
	}
	for {
		m, err := s.readRequest()
		if err != nil {
			return s.end(err)
		}
		if m != nil {
			s.in = *m
			return v.(json.Unmarshaler).UnmarshalJSON(emptyRequest)
		}
	}
}

// emptyRequest announces a request to jsonrpc2; onRecv fills it in.
var emptyRequest = []byte(`{"method":""}`)

// readRequest reads one frame. It returns nil if the frame held no request; that has been
// answered or logged.
func (s *stream) readRequest() (*message, error) {
	n, err := s.frames.header()
	if err != nil {
		return nil, err
	}
	if n > s.conn.cfg.MaxFrameBytes {
		// Answered before the body is skipped, as the peer may wait for it.
		s.refuse(&refusal{nullID, s.conn.tooLarge("the message", n)})
		return nil, s.frames.skip(n)
	}
	body, err := s.frames.body(n)
	if err != nil {
		return nil, err
	}
	m, refused := parseMessage(body)
	switch {
	case refused != nil:
		s.refuse(refused)
		return nil, nil
	case m.response:
		s.conn.cfg.Logger.Warn("dropped a response: the worker sends no requests", "id", m.id.String())
		return nil, nil
	}
	return &m, nil
}

func (s *stream) refuse(r *refusal) {
	s.conn.cfg.Logger.Debug("refused a frame", "reason", r.Message)
	if err := s.conn.PostError(r.id, r.Error); err != nil {
		s.conn.cfg.Logger.Debug("could not answer a refused frame", "error", err)
	}
}

// end tells that nothing more comes, and holds the reader until Close: the end of
// ReadObject is the end of the connection, which may still have something to send.
func (s *stream) end(err error) error {
	defer close(s.ended)
	select {
	case <-s.released: // Close closed the input
		return io.EOF
	default:
	}
	if err == io.EOF {
		err = nil
	}
	s.conn.cfg.InputEnded(err)
	<-s.released
	return io.EOF
}

func (s *stream) onRecv(req *jsonrpc2.Request, _ *jsonrpc2.Response) {
	req.ID, req.Notif, req.Method = s.in.id, !s.in.hasID, s.in.method
	if params := s.in.params; params != nil {
		raw := json.RawMessage(params)
		req.Params = &raw
	}
	s.in = message{}
}

func (s *stream) onSend(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	s.outRequest, s.outResponse = req, resp
}

// WriteObject queues the message that onSend left. It never waits.
func (s *stream) WriteObject(any) error {
	req, resp := s.outRequest, s.outResponse
	s.outRequest, s.outResponse = nil, nil
	start, payload, err := s.envelope.encode(req, resp)
	if err != nil {
		return err
	}
	return s.conn.writer.enqueue(start, payload)
}

// Close closes the input, which wakes a reader that waits for it. The output is the writer's.
func (s *stream) Close() error { return s.conn.cfg.In.Close() }
