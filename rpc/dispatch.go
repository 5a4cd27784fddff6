package rpc

import (
	"context"
	"errors"
	"runtime/debug"

	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// call is one request on its way to an answer.
type call struct {
	server  *server
	request wire.Request
}

// afterReply is a result that waits to be told when it was sent.
type afterReply interface{ replied() }

// handle takes a request on the reader's goroutine.
func (s *server) handle(r wire.Request) {
	c := &call{s, r}
	m := methodsByName[r.Method]
	switch {
	case m == nil:
		c.post(nil, methodNotFound(r.Method))
	case m.NotOffered != "":
		c.post(nil, unsupported(m.Name, m.NotOffered))
	case m.now != nil:
		c.post(c.protect(func() (any, error) {
			a, err := decodeArgs(m.Params, r.Params)
			if err != nil {
				return nil, err
			}
			return m.now(s, a)
		}))
	default:
		c.start(m)
	}
}

// start begins a request on the reader's goroutine and leaves the rest to one of its own.
func (c *call) start(m *Method) {
	if err := c.server.tasks.start(); err != nil {
		c.post(nil, err)
		return
	}
	var rest task
	_, err := c.protect(func() (any, error) {
		a, err := decodeArgs(m.Params, c.request.Params)
		if err != nil {
			return nil, err
		}
		if m.begin != nil {
			rest, err = m.begin(c.server, c, a)
			return nil, err
		}
		rest = func(ctx context.Context) (any, error) { return m.task(c.server, ctx, a) }
		return nil, nil
	})
	if err != nil {
		c.post(nil, err)
	}
	if rest == nil {
		c.server.tasks.done()
		return
	}
	go func() {
		defer c.server.tasks.done()
		c.reply(c.protect(func() (any, error) { return rest(c.server.work) }))
	}()
}

// protect turns a panic of f into an error; its stack goes to the log.
func (c *call) protect(f func() (any, error)) (result any, err error) {
	err = c.server.protect(c.request.Method, func() (err error) {
		result, err = f()
		return err
	})
	return result, err
}

func (s *server) protect(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("the worker panicked", "in", what, "panic", r, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "an internal fault of the worker; its log tells more")
		}
	}()
	return f()
}

// post answers without waiting, as the reader's goroutine must.
func (c *call) post(result any, err error) {
	encoded, failure := c.encode(result, err)
	switch {
	case c.request.Notification:
	case failure != nil:
		c.sent(c.server.conn.PostError(c.request.ID, failure))
	default:
		c.sent(c.server.conn.Post(c.request.ID, encoded))
	}
}

// reply answers when there is room for the answer.
func (c *call) reply(result any, err error) {
	encoded, failure := c.encode(result, err)
	switch {
	case c.request.Notification:
	case failure != nil:
		c.sent(c.server.conn.ReplyError(c.server.sending, c.request.ID, failure))
	default:
		c.sent(c.server.conn.Reply(c.server.sending, c.request.ID, encoded))
	}
	if r, ok := result.(afterReply); ok {
		r.replied()
	}
}

// encode returns the answer, or the error to answer with.
func (c *call) encode(result any, err error) ([]byte, *wire.Error) {
	if err == nil {
		encoded, encodeErr := wire.Marshal(result)
		if encodeErr == nil {
			return encoded, nil
		}
		err = encodeErr
	}
	var failure *wire.Error
	if !errors.As(err, &failure) {
		var known bool
		if failure, known = wireError(err); !known {
			c.server.log.Error("a request failed", "method", c.request.Method, "error", err)
		}
	}
	c.server.log.Debug("refused a request", "method", c.request.Method, "error", err)
	return nil, failure
}

func (c *call) sent(err error) {
	if err != nil {
		c.server.log.Debug("could not answer a request", "method", c.request.Method, "error", err)
	}
}
