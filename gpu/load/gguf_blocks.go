package load

import (
	"encoding/binary"
	"errors"
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/limits"
)

// blockFormat is how a ggml tensor type becomes MLX arrays: as it is stored (dtype alone), as a
// quantised matrix that equals it (quant and pack), or dense (expand alone).
type blockFormat struct {
	dtype mlx.DType // of a dense tensor, or of scales and biases
	quant *QuantSpec

	elements   int                               // of a block
	blockBytes int                               // of a block
	halves     []int                             // where a block has float16 numbers
	pack       func(block, weight []byte)        // into MLX's packing
	scales     func(block, out []byte)           // of the block's groups
	biases     func(block, out []byte)           // of the block's groups
	expand     func(block []byte, out []float32) // into the elements
}

// The affine formats that ggml's block types equal, bit for bit.
var (
	affine4 = &QuantSpec{GroupSize: 32, Bits: 4, Mode: mlx.Affine}
	affine5 = &QuantSpec{GroupSize: 32, Bits: 5, Mode: mlx.Affine}
	affine8 = &QuantSpec{GroupSize: 32, Bits: 8, Mode: mlx.Affine}
)

var blockFormats = map[gguf.TensorType]blockFormat{
	gguf.F32:  {dtype: mlx.Float32},
	gguf.F16:  {dtype: mlx.Float16},
	gguf.BF16: {dtype: mlx.BFloat16},
	gguf.Q4_0: {
		dtype: mlx.Float16, quant: affine4, elements: 32, blockBytes: 18, halves: []int{0},
		pack: packQ4_0, scales: firstHalf, biases: biasQ4_0, expand: expandQ4_0,
	},
	gguf.Q4_1: {
		dtype: mlx.Float16, quant: affine4, elements: 32, blockBytes: 20, halves: []int{0, 2},
		pack: packQ4_1, scales: firstHalf, biases: secondHalf, expand: expandQ4_1,
	},
	gguf.Q5_0: {
		dtype: mlx.Float16, quant: affine5, elements: 32, blockBytes: 22, halves: []int{0},
		pack: packQ5_0, scales: firstHalf, biases: biasQ5_0, expand: expandQ5_0,
	},
	gguf.Q5_1: {
		dtype: mlx.Float16, quant: affine5, elements: 32, blockBytes: 24, halves: []int{0, 2},
		pack: packQ5_1, scales: firstHalf, biases: secondHalf, expand: expandQ5_1,
	},
	gguf.Q8_0: {
		dtype: mlx.Float16, quant: affine8, elements: 32, blockBytes: 34, halves: []int{0},
		pack: packQ8_0, scales: firstHalf, biases: biasQ8_0, expand: expandQ8_0,
	},
	gguf.Q4_K: {
		dtype: mlx.Float32, quant: affine4, elements: 256, blockBytes: 144, halves: []int{0, 2},
		pack: packQ4_K, scales: scalesOfK, biases: biasesOfK, expand: expandQ4_K,
	},
	gguf.Q5_K: {
		dtype: mlx.Float32, quant: affine5, elements: 256, blockBytes: 176, halves: []int{0, 2},
		pack: packQ5_K, scales: scalesOfK, biases: biasesOfK, expand: expandQ5_K,
	},
	// Groups of 16, which MLX has not.
	gguf.Q2_K: {dtype: mlx.Float32, elements: 256, blockBytes: 84, halves: []int{80, 82}, expand: expandQ2_K},
	gguf.Q3_K: {dtype: mlx.Float32, elements: 256, blockBytes: 110, halves: []int{108}, expand: expandQ3_K},
	gguf.Q6_K: {dtype: mlx.Float32, elements: 256, blockBytes: 210, halves: []int{208}, expand: expandQ6_K},
}

// arrays describes the tensor as MLX has it.
func (t ggufTensor) arrays(dense bool) []Array {
	format := blockFormats[t.Type]
	shape := make([]int, len(t.Dims)) // GGUF names the contiguous dimension first
	for i, d := range t.Dims {
		shape[len(shape)-1-i] = int(d)
	}
	name := t.name + "." + t.part
	switch {
	case format.expand == nil:
		return []Array{{Name: name, DType: format.dtype, Shape: shape, Fill: t.fillStored}}
	case dense || format.quant == nil:
		return []Array{{Name: name, DType: mlx.Float32, Shape: shape, Fill: t.fillDense}}
	}
	perGroup := []int{shape[0], shape[1] / format.quant.GroupSize}
	return []Array{
		{Name: name, DType: mlx.Uint32, Shape: []int{shape[0], shape[1] * format.quant.Bits / 32}, Fill: t.fillPacked},
		{Name: t.name + ".scales", DType: format.dtype, Shape: perGroup, Fill: t.fillScales},
		{Name: t.name + ".biases", DType: format.dtype, Shape: perGroup, Fill: t.fillBiases},
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

// fillStored copies a tensor that is not quantised.
func (t ggufTensor) fillStored(dst []byte) error {
	if err := t.eachRow(dst, func(row, to []byte) { copy(to, row) }); err != nil {
		return err
	}
	return t.blame(refuseNaN(dst, blockFormats[t.Type].dtype))
}

// fillDense computes the elements in float32. Scales are float16, or float16 times at most 6
// bits, and quants have at most 8 bits, so their product is exact and the result is what MLX's
// dequantize gives.
func (t ggufTensor) fillDense(dst []byte) error {
	format := blockFormats[t.Type]
	var damaged atomic.Bool
	err := t.eachRow(dst, func(row, to []byte) {
		out := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(to))), len(to)/4)
		for len(out) > 0 {
			if format.damaged(row) {
				damaged.Store(true)
			}
			format.expand(row, out)
			row, out = row[format.blockBytes:], out[format.elements:]
		}
	})
	return errors.Join(err, t.judge(&damaged))
}

func (t ggufTensor) fillPacked(dst []byte) error {
	format := blockFormats[t.Type]
	var damaged atomic.Bool
	err := t.eachBlock(dst, func(block, to []byte) {
		if format.damaged(block) {
			damaged.Store(true)
		}
		format.pack(block, to)
	})
	return errors.Join(err, t.judge(&damaged))
}

func (t ggufTensor) fillScales(dst []byte) error {
	return t.eachBlock(dst, blockFormats[t.Type].scales)
}

func (t ggufTensor) fillBiases(dst []byte) error {
	return t.eachBlock(dst, blockFormats[t.Type].biases)
}

// damaged reports whether one of the block's float16 numbers is a NaN or infinite: quants have no
// such values, so that nothing else can be wrong with them.
func (f *blockFormat) damaged(block []byte) bool {
	for _, at := range f.halves {
		if block[at+1]&0x7c == 0x7c {
			return true
		}
	}
	return false
}

func (t ggufTensor) judge(damaged *atomic.Bool) error {
	if !damaged.Load() {
		return nil
	}
	return t.blame(errors.New("a block's scale is not a finite number"))
}

// blame names the tensor as the file does.
func (t ggufTensor) blame(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.ModelLoad, "%s: tensor %q: %w", t.file.Name(), t.Name, err)
}

// eachBlock is eachRow for every block and its equal share of dst.
func (t ggufTensor) eachBlock(dst []byte, fn func(block, to []byte)) error {
	size := blockFormats[t.Type].blockBytes
	return t.eachRow(dst, func(row, to []byte) {
		blocks := len(row) / size
		share := len(to) / blocks
		for i := range blocks {
			fn(row[i*size:][:size], to[i*share:][:share])
		}
	})
}

// readBytes is about how much eachRow reads at once: what a processor's cache holds.
const readBytes = 256 << 10

// eachRow reads the matrix on all cores and calls fn for every row: its bytes in the file, and its
// equal share of dst.
func (t ggufTensor) eachRow(dst []byte, fn func(row, to []byte)) error {
	rows := int(t.Dims[len(t.Dims)-1])
	size, share := len(t.Data())/rows, len(dst)/rows
	unit := 1 // rows that are only moved among each other
	if t.heads > 0 {
		unit = rows / t.heads
	}
	step := unit * max(1, readBytes/(size*unit))
	parts := (rows + step - 1) / step
	workers := min(limits.Cores(), parts)
	var group errgroup.Group
	for w := range workers {
		group.Go(func() error {
			in := make([]byte, min(step, rows)*size)
			for p := w * parts / workers; p < (w+1)*parts/workers; p++ {
				first, last := p*step, min((p+1)*step, rows)
				if err := t.file.Read(t.Tensor, in[:(last-first)*size], first*size); err != nil {
					return err
				}
				for r := first; r < last; r++ {
					fn(in[(t.sourceRow(r, rows)-first)*size:][:size], dst[r*share:][:share])
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// firstHalf and secondHalf are scales and biases that blocks of 32 elements begin with.
func firstHalf(block, out []byte)  { copy(out, block[:2]) }
func secondHalf(block, out []byte) { copy(out, block[2:4]) }

// timesMinus writes -2^n times the float16 that the block begins with.
func timesMinus(block []byte, n int, out []byte) {
	binary.LittleEndian.PutUint16(out, timesPowerOfTwo(binary.LittleEndian.Uint16(block), n)^0x8000)
}

// Q4_0: float16 d, 16 bytes of nibbles; x = d·(q − 8).
func packQ4_0(block, weight []byte) { packNibbles(block[2:18], weight) }
func biasQ4_0(block, out []byte)    { timesMinus(block, 3, out) }

func expandQ4_0(block []byte, out []float32) {
	d := float16(block)
	expandNibbles(block[2:18], d, -8*d, out)
}

// Q4_1: float16 d and m, 16 bytes of nibbles; x = d·q + m.
func packQ4_1(block, weight []byte) { packNibbles(block[4:20], weight) }

func expandQ4_1(block []byte, out []float32) {
	expandNibbles(block[4:20], float16(block), float16(block[2:]), out)
}

// Q8_0: float16 d, 32 int8; x = d·q = d·(q + 128) − 128·d.
func packQ8_0(block, weight []byte) {
	for i := range 4 {
		q := binary.LittleEndian.Uint64(block[2+8*i:])
		binary.LittleEndian.PutUint64(weight[8*i:], q^0x8080808080808080)
	}
}

func biasQ8_0(block, out []byte) { timesMinus(block, 7, out) }

func expandQ8_0(block []byte, out []float32) {
	d, to := float16(block), (*[32]float32)(out)
	for i, q := range (*[32]byte)(block[2:]) {
		to[i] = d * float32(int8(q))
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
	// Arrays instead of slices, so that no index is checked in the loop.
	low, high := (*[16]float32)(out), (*[16]float32)(out[16:])
	for j, b := range (*[16]byte)(in) {
		low[j] = values[b&0x0f]
		high[j] = values[b>>4]
	}
}

// float16 decodes the IEEE half-precision number at the start of b.
func float16(b []byte) float32 {
	return math.Float32frombits(wideFloat16(binary.LittleEndian.Uint16(b)))
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
