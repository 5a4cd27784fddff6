// Package wire carries JSON-RPC 2.0 over two byte streams as frames: a big-endian uint32
// length and one MessagePack map.
//
// The protocol engine is github.com/sourcegraph/jsonrpc2, which knows JSON only: its messages
// can be read and written by an ObjectStream through MarshalJSON and UnmarshalJSON alone. To
// spare params and results the way through JSON, they go round it by its public hooks:
//
//   - OnSend runs while the connection's send lock is held, right before WriteObject. It leaves
//     the message in the stream; WriteObject ignores its argument and encodes what was left.
//   - OnRecv runs on the reader's goroutine right after ReadObject, which announced the message
//     with an empty envelope. It fills in id, method and params, whose bytes alias the frame.
//
// TestHookOrder guards that order. Not to be used with it, because they marshal or unmarshal
// JSON: jsonrpc2's LogMessages, HandlerWithError, AsyncHandler, Conn.Reply, and Conn.Call with
// a result.
package wire
