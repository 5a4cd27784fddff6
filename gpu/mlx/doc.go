// Package mlx binds the part of MLX that a language model needs, through mlx-c.
//
// # Ownership
//
// An [Array] is a handle that is valid as long as the [Scope] that made it is open. A value
// that must live longer is kept with [Scope.Keep], which gives a [Ref] with exactly one owner.
// There are no finalizers and no global list: what a scope made, its Close frees, in one C call.
//
// Build in a scope, close the scope, then evaluate what was kept. An intermediate whose handle
// is still open during evaluation keeps its buffer alive and cannot be donated, which turns
// every KV cache update into a copy of the cache.
//
// # Errors
//
// Operations have no error result: the first failure sticks to the scope, later operations of
// that scope do nothing, and [Scope.Err], [Scope.Keep] or [Build] returns it as an [OpError] that
// names the operation, its input shapes and dtypes and MLX's own message.
//
// # Threads
//
// MLX keeps streams, compile caches and its scheduler per thread. Everything here except
// [Thread.Do], [Thread.Close], [NewRef], [NewFresh], [Elements], [Ref.Free] of evaluated arrays and the
// getters of plain data must run on one [Thread].
package mlx
