// Package cache holds what attention remembers of a sequence.
package cache

import "mlx-worker/gpu/mlx"

// growStep is the number of positions by which a cache grows, as in mlx-lm.
const growStep = 256

// KV is the key-value cache of one layer of one sequence. Its buffers, [1, kv_heads, capacity,
// head_dim], grow in steps of 256 positions and are written in place: nothing else may hold
// them while a step is evaluated. Use it on the MLX thread.
type KV struct {
	keys, values *mlx.Ref
	offset       int // positions written
	capacity     int
}

// Offset is the position of the next token.
func (c *KV) Offset() int { return c.offset }

// Update appends keys and values, [1, kv_heads, n, head_dim], and returns everything cached,
// [1, kv_heads, offset, head_dim], as arrays of the scope.
func (c *KV) Update(s *mlx.Scope, keys, values mlx.Array) (allKeys, allValues mlx.Array) {
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	n := keys.Dim(2)
	if c.keys == nil || c.offset+n > c.capacity {
		c.grow(s, keys, values, n)
	}
	if s.Err() != nil {
		return mlx.Array{}, mlx.Array{}
	}
	allKeys = c.write(s, c.keys, keys, n)
	allValues = c.write(s, c.values, values, n)
	c.offset += n
	return allKeys, allValues
}

// State returns the buffers, to evaluate a prefill chunk without its logits.
func (c *KV) State() []mlx.Array {
	if c.keys == nil {
		return nil
	}
	return []mlx.Array{c.keys.Array(), c.values.Array()}
}

// Free drops the buffers; the cache is empty afterwards.
func (c *KV) Free() {
	c.keys.Free()
	c.values.Free()
	*c = KV{}
}

func (c *KV) grow(s *mlx.Scope, keys, values mlx.Array, n int) {
	extra := (n + growStep - 1) / growStep * growStep
	c.keys = c.grown(s, c.keys, keys, extra)
	c.values = c.grown(s, c.values, values, extra)
	c.capacity = c.offset + extra
}

// grown returns a buffer of offset+extra positions that begins with what buffer holds.
func (c *KV) grown(s *mlx.Scope, buffer *mlx.Ref, like mlx.Array, extra int) *mlx.Ref {
	room := s.Zeros(like.DType(), like.Dim(0), like.Dim(1), extra, like.Dim(3))
	if buffer != nil {
		room = s.Concatenate(2, s.SliceAxis(buffer.Array(), 2, 0, c.offset), room)
		buffer.Set(s, room)
		return buffer
	}
	kept, err := s.Keep(room)
	if err != nil {
		s.Fail(err)
		return nil
	}
	return kept
}

func (c *KV) write(s *mlx.Scope, buffer *mlx.Ref, update mlx.Array, n int) mlx.Array {
	whole := buffer.Array()
	heads, dim := update.Dim(1), update.Dim(3)
	written := s.SliceUpdate(whole, update, []int{0, 0, c.offset, 0}, []int{1, heads, c.offset + n, dim})
	buffer.Set(s, written)
	return s.Slice(written, []int{0, 0, 0, 0}, []int{1, heads, c.offset + n, dim})
}
