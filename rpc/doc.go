// Package rpc serves the worker's protocol: it turns JSON-RPC requests into work for the
// batcher and the text side of a model, and their progress into notifications.
//
// Methods is the table of everything that can be called and Errors that of every failure;
// the reference documentation and the client's types are generated from them. The package
// knows no MLX and no cgo: models come in through the batcher and TextModel.
//
// Four kinds of goroutine work together, and none of them waits for one before it:
//
//   - the reader decodes requests in order, registers streams and starts a task for each
//     request; it answers only what takes no time, and waits for nothing;
//   - tasks do the work of one request and answer it;
//   - the scheduler's goroutine (the batcher's) delivers tokens to streams, which only
//     collect them;
//   - the emitter sends what streams have collected, one frame for all streams of a step. A
//     client that reads slowly makes it wait, and the rows it sends next longer.
package rpc
