package load

import (
	"encoding/binary"
	"math"

	"mlx-worker/gpu/mlx"
)

// FillWide is Fill with every element as float32, for an array of 16-bit floats: dst has twice Size
// bytes. Each is exactly what it was; no other memory is needed.
func (a Array) FillWide(dst []byte) error {
	if err := a.Fill(dst[len(dst)/2:]); err != nil {
		return err
	}
	widen(dst, a.DType)
	return nil
}

// widen replaces the 16-bit floats in data's second half by 32-bit ones in all of it. Four elements
// at a time are read, then written to where none lies that is still to be read.
func widen(data []byte, dtype mlx.DType) {
	in, out := data[len(data)/2:], data
	if dtype == mlx.BFloat16 {
		for ; len(in) >= 8 && len(out) >= 16; in, out = in[8:], out[16:] {
			four := binary.LittleEndian.Uint64(in)
			binary.LittleEndian.PutUint64(out, four&0xffff<<16|four>>16&0xffff<<48)
			binary.LittleEndian.PutUint64(out[8:], four>>32&0xffff<<16|four>>48<<48)
		}
		for ; len(in) >= 2; in, out = in[2:], out[4:] {
			binary.LittleEndian.PutUint32(out, uint32(binary.LittleEndian.Uint16(in))<<16)
		}
		return
	}
	for ; len(in) >= 8 && len(out) >= 16; in, out = in[8:], out[16:] {
		four := binary.LittleEndian.Uint64(in)
		a, b := wideFloat16(uint16(four)), wideFloat16(uint16(four>>16))
		c, d := wideFloat16(uint16(four>>32)), wideFloat16(uint16(four>>48))
		binary.LittleEndian.PutUint64(out, uint64(a)|uint64(b)<<32)
		binary.LittleEndian.PutUint64(out[8:], uint64(c)|uint64(d)<<32)
	}
	for ; len(in) >= 2; in, out = in[2:], out[4:] {
		binary.LittleEndian.PutUint32(out, wideFloat16(binary.LittleEndian.Uint16(in)))
	}
}

// wideFloat16 gives the bits of the float32 that equals a float16, given by its bits. NaNs become
// quiet, as processors make them.
func wideFloat16(h uint16) uint32 {
	const (
		bias     = 0x1p112    // between the exponents of the two; it makes subnormals normal
		infinity = 0x1p16     // what becomes of the exponent of infinities and NaNs
		exponent = 0x7f800000 // what it has to be
		quiet    = 0x00400000
	)
	magnitude := math.Float32frombits(uint32(h&0x7fff)<<13) * bias
	bits := math.Float32bits(magnitude) | uint32(h&0x8000)<<16
	if magnitude >= infinity {
		bits |= exponent
		if magnitude > infinity {
			bits |= quiet
		}
	}
	return bits
}
