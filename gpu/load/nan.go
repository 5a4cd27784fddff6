package load

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"mlx-worker/gpu/mlx"
)

// refuseNaN returns an error if an element is not a number: it would be in every answer.
func refuseNaN(data []byte, dtype mlx.DType) error {
	if firstNaN(data, dtype) >= 0 {
		return errors.New("the weights hold a NaN")
	}
	return nil
}

// floatLayout says where the floats of a dtype, as many as fit into 64 bits, have their bits.
type floatLayout struct {
	size     int    // bytes
	exponent uint64 // all bits of the exponents
	lowest   uint64 // the lowest bit of each
	sign     uint64
	mantissa uint64
}

var floatLayouts = map[mlx.DType]floatLayout{
	mlx.Float32:  {4, 0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000, 0x007fffff_007fffff},
	mlx.Float16:  {2, 0x7c007c00_7c007c00, 0x04000400_04000400, 0x80008000_80008000, 0x03ff03ff_03ff03ff},
	mlx.BFloat16: {2, 0x7f807f80_7f807f80, 0x00800080_00800080, 0x80008000_80008000, 0x007f007f_007f007f},
}

// scanned is how many bytes are looked at before it is asked whether one of them was suspicious.
const scanned = 4096

// firstNaN returns the index of the first element that is not a number, -1 if there is none.
func firstNaN(data []byte, dtype mlx.DType) int {
	l, isFloat := floatLayouts[dtype]
	if !isFloat {
		return -1
	}
	at := 0
	for ; len(data)-at >= scanned; at += scanned {
		if !l.suspicious((*[scanned]byte)(data[at:])) {
			continue
		}
		if i := l.find(data[at:][:scanned]); i >= 0 {
			return at/l.size + i
		}
	}
	if i := l.find(data[at:]); i >= 0 {
		return at/l.size + i
	}
	return -1
}

// suspicious reports whether an exponent has all bits set: a NaN or an infinity. Such an exponent
// carries into the sign when its lowest bit is added.
func (l floatLayout) suspicious(block *[scanned]byte) bool {
	exponent, lowest := l.exponent, l.lowest
	var carries uint64
	for i := 0; i < scanned; i += 32 {
		a := binary.LittleEndian.Uint64(block[i:])&exponent + lowest
		b := binary.LittleEndian.Uint64(block[i+8:])&exponent + lowest
		c := binary.LittleEndian.Uint64(block[i+16:])&exponent + lowest
		d := binary.LittleEndian.Uint64(block[i+24:])&exponent + lowest
		carries |= (a | b) | (c | d)
	}
	return carries&l.sign != 0
}

// find looks at every element.
func (l floatLayout) find(data []byte) int {
	lane := uint64(1)<<(8*l.size) - 1
	for i := range len(data) / l.size {
		var x uint64
		for b, v := range data[i*l.size:][:l.size] {
			x |= uint64(v) << (8 * b)
		}
		if x&l.exponent == l.exponent&lane && bits.OnesCount64(x&l.mantissa) > 0 {
			return i
		}
	}
	return -1
}
