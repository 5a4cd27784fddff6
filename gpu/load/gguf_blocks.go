package load

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/gguf"
)

// blockFormat is how a ggml tensor type becomes MLX arrays.
type blockFormat struct {
	dtype mlx.DType // of a dense tensor
	quant *QuantSpec

	blockBytes int
	split      func(block, weight, scale, bias []byte) // into MLX's packing
	expand     func(block []byte, out []float32)       // into 32 elements
}

// The affine formats that ggml's block types of 32 elements equal, bit for bit.
var (
	affine4 = &QuantSpec{GroupSize: 32, Bits: 4, Mode: mlx.Affine}
	affine8 = &QuantSpec{GroupSize: 32, Bits: 8, Mode: mlx.Affine}
)

var blockFormats = map[gguf.TensorType]blockFormat{
	gguf.F32:  {dtype: mlx.Float32},
	gguf.F16:  {dtype: mlx.Float16},
	gguf.Q4_0: {quant: affine4, blockBytes: 18, split: splitQ4_0, expand: expandQ4_0},
	gguf.Q4_1: {quant: affine4, blockBytes: 20, split: splitQ4_1, expand: expandQ4_1},
	gguf.Q8_0: {quant: affine8, blockBytes: 34, split: splitQ8_0, expand: expandQ8_0},
}

// blockBuffers are reused from tensor to tensor.
type blockBuffers struct {
	weight, scales, biases []byte
	dense                  []float32
}

func grow[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n)
	}
	return (*buf)[:n]
}

// shape is the tensor's shape in row-major order.
func (t ggufTensor) shape() []int {
	shape := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		shape[len(shape)-1-i] = int(d)
	}
	return shape
}

// arrays unpacks the tensor into buffers.
func (t ggufTensor) arrays(dense bool, buffers *blockBuffers) []HostArray {
	format, shape := blockFormats[t.Type], t.shape()
	name := t.name + "." + t.part
	switch {
	case format.quant == nil:
		data := t.Data()
		if t.heads > 0 {
			data = t.permuted(grow(&buffers.weight, len(data)), shape[0])
		}
		return []HostArray{{Name: name, DType: format.dtype, Shape: shape, Data: data}}
	case dense:
		out := grow(&buffers.dense, shape[0]*shape[1])
		t.expand(format, shape, out)
		data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), len(out)*4)
		return []HostArray{{Name: name, DType: mlx.Float32, Shape: shape, Data: data}}
	default:
		return t.split(format, shape, buffers)
	}
}

// sourceRow says which row of the file is row r of the matrix. llama.cpp stores the rows of q
// and k so that rope's halves (i, i+d/2) of each head lie side by side (2i, 2i+1); MLX wants
// the halves back.
func (t ggufTensor) sourceRow(r, rows int) int {
	if t.heads == 0 {
		return r
	}
	dim := rows / t.heads
	head, i := r/dim, r%dim
	half, j := i/(dim/2), i%(dim/2)
	return head*dim + 2*j + half
}

func (t ggufTensor) permuted(out []byte, rows int) []byte {
	in := t.Data()
	size := len(in) / rows
	for r := range rows {
		from := t.sourceRow(r, rows) * size
		copy(out[r*size:(r+1)*size], in[from:from+size])
	}
	return out
}

// split takes blocks of 32 elements apart into packed weights, float16 scales and biases.
func (t ggufTensor) split(format blockFormat, shape []int, buffers *blockBuffers) []HostArray {
	spec := format.quant
	rows, groups := shape[0], shape[1]/spec.GroupSize
	weightBytes := spec.GroupSize * spec.Bits / 8
	weight := grow(&buffers.weight, rows*groups*weightBytes)
	scales := grow(&buffers.scales, rows*groups*2)
	biases := grow(&buffers.biases, rows*groups*2)
	t.eachRow(rows, func(r int, row []byte) {
		for g := range groups {
			to := r*groups + g
			format.split(row[g*format.blockBytes:][:format.blockBytes], weight[to*weightBytes:][:weightBytes], scales[to*2:][:2], biases[to*2:][:2])
		}
	})
	packed := []int{rows, shape[1] * spec.Bits / 32}
	perGroup := []int{rows, groups}
	return []HostArray{
		{Name: t.name + ".weight", DType: mlx.Uint32, Shape: packed, Data: weight},
		{Name: t.name + ".scales", DType: mlx.Float16, Shape: perGroup, Data: scales},
		{Name: t.name + ".biases", DType: mlx.Float16, Shape: perGroup, Data: biases},
	}
}

// expand computes the elements. Scales are float16 and quants have at most 8 bits, so their
// product is exact in float32 and the result is what MLX's dequantize gives.
func (t ggufTensor) expand(format blockFormat, shape []int, out []float32) {
	rows, columns := shape[0], shape[1]
	t.eachRow(rows, func(r int, row []byte) {
		to := out[r*columns : (r+1)*columns]
		for len(to) > 0 {
			format.expand(row, to)
			row, to = row[format.blockBytes:], to[format.quant.GroupSize:]
		}
	})
}

// eachRow calls fn for every row of the matrix with its bytes in the file, on all cores.
func (t ggufTensor) eachRow(rows int, fn func(r int, row []byte)) {
	in := t.Data()
	size := len(in) / rows
	workers := min(runtime.GOMAXPROCS(0), rows)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for r := w * rows / workers; r < (w+1)*rows/workers; r++ {
				fn(r, in[t.sourceRow(r, rows)*size:][:size])
			}
		})
	}
	group.Wait()
}

// Q4_0: float16 d, 16 bytes of nibbles; x = d·(q − 8).
func splitQ4_0(block, weight, scale, bias []byte) {
	copy(scale, block[:2])
	binary.LittleEndian.PutUint16(bias, timesPowerOfTwo(binary.LittleEndian.Uint16(block), 3)^0x8000)
	packNibbles(block[2:18], weight)
}

func expandQ4_0(block []byte, out []float32) {
	d := float16(block)
	expandNibbles(block[2:18], d, -8*d, out)
}

// Q4_1: float16 d and m, 16 bytes of nibbles; x = d·q + m.
func splitQ4_1(block, weight, scale, bias []byte) {
	copy(scale, block[:2])
	copy(bias, block[2:4])
	packNibbles(block[4:20], weight)
}

func expandQ4_1(block []byte, out []float32) {
	expandNibbles(block[4:20], float16(block), float16(block[2:]), out)
}

// Q8_0: float16 d, 32 int8; x = d·q = d·(q + 128) − 128·d.
func splitQ8_0(block, weight, scale, bias []byte) {
	copy(scale, block[:2])
	binary.LittleEndian.PutUint16(bias, timesPowerOfTwo(binary.LittleEndian.Uint16(block), 7)^0x8000)
	for i := range 4 {
		q := binary.LittleEndian.Uint64(block[2+8*i:])
		binary.LittleEndian.PutUint64(weight[8*i:], q^0x8080808080808080)
	}
}

func expandQ8_0(block []byte, out []float32) {
	d := float16(block)
	quants := block[2:34]
	out = out[:32]
	for i, q := range quants {
		out[i] = d * float32(int8(q))
	}
}

// packNibbles turns ggml's order (byte j holds elements j and j+16) into MLX's (byte j holds
// elements 2j and 2j+1).
func packNibbles(in, out []byte) {
	_, _ = in[15], out[15]
	for j := range 8 {
		a, b := in[2*j], in[2*j+1]
		out[j] = a&0x0f | b<<4
		out[8+j] = a>>4 | b&0xf0
	}
}

// expandNibbles writes d·q + m for 32 quants in ggml's order.
func expandNibbles(in []byte, d, m float32, out []float32) {
	var values [16]float32
	for q := range values {
		values[q] = d*float32(q) + m
	}
	in, low, high := in[:16], out[:16], out[16:32]
	for j, b := range in {
		low[j] = values[b&0x0f]
		high[j] = values[b>>4]
	}
}

// float16 decodes the IEEE half-precision number at the start of b.
func float16(b []byte) float32 {
	h := uint32(binary.LittleEndian.Uint16(b))
	sign, exponent, mantissa := h&0x8000<<16, h>>10&0x1f, h&0x3ff
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	case 0:
		const smallest = 1.0 / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(float32(mantissa)*smallest))
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
	}
}

// timesPowerOfTwo multiplies a float16 by 2^n, exactly unless the result leaves float16's
// range, where it becomes infinite.
func timesPowerOfTwo(h uint16, n int) uint16 {
	sign, exponent, mantissa := h&0x8000, int(h>>10&0x1f), h&0x3ff
	if exponent == 0x1f || (exponent == 0 && mantissa == 0) {
		return h
	}
	if exponent == 0 { // subnormal: shift until it is normal or n is used up
		for n > 0 && mantissa < 0x400 {
			mantissa <<= 1
			n--
		}
		if mantissa >= 0x400 {
			exponent, mantissa = 1, mantissa&0x3ff
		}
	}
	if exponent > 0 {
		exponent += n
	}
	if exponent >= 0x1f {
		return sign | 0x7c00
	}
	return sign | uint16(exponent)<<10 | mantissa
}
