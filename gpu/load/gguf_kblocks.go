package load

import (
	"encoding/binary"
	"math"
)

// The K formats of ggml have blocks of 256 elements, in groups of 32 or 16 whose scales and
// minima are small integers times the block's float16 numbers.

// Q5_0: float16 d, 4 bytes with the fifth bits, 16 bytes of nibbles; x = d·(q − 16).
func packQ5_0(block, weight []byte) { packFives(fives(block[2:6], block[6:22]), weight) }
func biasQ5_0(block, out []byte)    { timesMinus(block, 4, out) }

func expandQ5_0(block []byte, out []float32) {
	d := float16(block)
	expandGroup(fives(block[2:6], block[6:22]), d, -16*d, out)
}

// Q5_1: float16 d and m, then as Q5_0; x = d·q + m.
func packQ5_1(block, weight []byte) { packFives(fives(block[4:8], block[8:24]), weight) }

func expandQ5_1(block []byte, out []float32) {
	expandGroup(fives(block[4:8], block[8:24]), float16(block), float16(block[2:]), out)
}

// fives are the quants of a block of 32 in order: nibble j of low holds element j, its high
// nibble element j+16, and bit i of high is the fifth of element i.
func fives(high, low []byte) (q [32]byte) {
	fifth := binary.LittleEndian.Uint32(high)
	for j, b := range low {
		q[j], q[j+16] = b&0x0f, b>>4
	}
	for i := range q {
		q[i] |= byte(fifth>>i&1) << 4
	}
	return q
}

// packFives writes 32 quants of 5 bits, the first in the lowest bits.
func packFives(q [32]byte, weight []byte) {
	for i := range 4 {
		var eight uint64
		for j, v := range q[8*i:][:8] {
			eight |= uint64(v) << (5 * j)
		}
		for j := range 5 {
			weight[5*i+j] = byte(eight >> (8 * j))
		}
	}
}

func expandGroup(q [32]byte, d, m float32, out []float32) {
	for i, v := range q {
		out[i] = d*float32(v) + m
	}
}

// kGroup returns the scale and the bias of group i of a Q4_K or Q5_K block, which begins with
// float16 d and m and 12 bytes of eight scales and eight minima of 6 bits: x = d·scale·q − m·min.
func kGroup(block []byte, i int) (scale, bias float32) {
	packed := (*[12]byte)(block[4:])
	s, m := packed[i%4], packed[i%4+4]
	if i < 4 {
		s, m = s&0x3f, m&0x3f
	} else {
		low := packed[i%4+8]
		s, m = low&0x0f|s>>6<<4, low>>4|m>>6<<4
	}
	return float16(block) * float32(s), -(float16(block[2:]) * float32(m))
}

func scalesOfK(block, out []byte) {
	for i := range 8 {
		scale, _ := kGroup(block, i)
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(scale))
	}
}

func biasesOfK(block, out []byte) {
	for i := range 8 {
		_, bias := kGroup(block, i)
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(bias))
	}
}

// kNibbles are the low bits of group i, in order: two groups share 32 bytes, the first has the low nibbles.
func kNibbles(nibbles []byte, i int) (q [32]byte) {
	shift := 4 * (i % 2)
	for j, b := range nibbles[i/2*32:][:32] {
		q[j] = b >> shift & 0x0f
	}
	return q
}

// Q4_K: the head of kGroup, 128 bytes of nibbles.
func packQ4_K(block, weight []byte) {
	for i := range 8 {
		q := kNibbles(block[16:144], i)
		for j := range 16 {
			weight[16*i+j] = q[2*j] | q[2*j+1]<<4
		}
	}
}

func expandQ4_K(block []byte, out []float32) {
	for i := range 8 {
		scale, bias := kGroup(block, i)
		expandGroup(kNibbles(block[16:144], i), scale, bias, out[32*i:])
	}
}

// Q5_K: the head of kGroup, 32 bytes whose bit i are the fifth bits of group i, 128 bytes of nibbles.
func packQ5_K(block, weight []byte) {
	for i := range 8 {
		packFives(kFives(block, i), weight[20*i:])
	}
}

func expandQ5_K(block []byte, out []float32) {
	for i := range 8 {
		scale, bias := kGroup(block, i)
		expandGroup(kFives(block, i), scale, bias, out[32*i:])
	}
}

func kFives(block []byte, i int) [32]byte {
	q := kNibbles(block[48:176], i)
	for j, b := range block[16:48] {
		q[j] |= b >> i & 1 << 4
	}
	return q
}

// Q2_K: 16 bytes, each a group's scale and minimum of 4 bits, 64 bytes of quants of 2 bits,
// float16 d and m; x = d·scale·q − m·min for groups of 16.
func expandQ2_K(block []byte, out []float32) {
	d, m := float16(block[80:]), float16(block[82:])
	for i, s := range block[:16] {
		scale, bias := d*float32(s&0x0f), -(m * float32(s>>4))
		for j, q := range kTwos(block[16:80], i) {
			out[16*i+j] = scale*float32(q) + bias
		}
	}
}

// kTwos are the lowest two bits of group i of 16: eight groups share 32 bytes, which hold two
// groups in each pair of bits.
func kTwos(quants []byte, i int) (q [16]byte) {
	shift := 2 * (i % 8 / 2)
	for j, b := range quants[i/8*32+i%2*16:][:16] {
		q[j] = b >> shift & 3
	}
	return q
}

// Q3_K: 32 bytes of third bits, 64 bytes of quants of 2 bits, 12 bytes of 16 scales of 6 bits,
// float16 d; x = d·(scale − 32)·(q − 4) for groups of 16.
func expandQ3_K(block []byte, out []float32) {
	d, packed := float16(block[108:]), block[96:108]
	for i := range 16 {
		low := packed[i%8] >> (4 * (i / 8)) & 0x0f
		scale := d * float32(int(low|packed[8+i%4]>>(2*(i/4))&3<<4)-32)
		third := block[i%2*16:][:16]
		for j, q := range kTwos(block[32:96], i) {
			q |= third[j] >> (i / 2) & 1 << 2
			out[16*i+j] = scale * float32(int(q)-4)
		}
	}
}

// Q6_K: 128 bytes of nibbles, 64 bytes of quants' upper 2 bits, 16 scales of int8, float16 d;
// x = d·scale·(q − 32) for groups of 16.
func expandQ6_K(block []byte, out []float32) {
	d := float16(block[208:])
	for i, s := range block[192:208] {
		scale := d * float32(int8(s))
		half, quarter, at := i/8, i%8/2, i%2*16 // groups go in halves of 128 elements, quarters of 32
		nibbles := block[64*half+quarter%2*32+at:][:16]
		upper := block[128+32*half+at:][:16]
		for j := range 16 {
			q := nibbles[j]>>(4*(quarter/2))&0x0f | upper[j]>>(2*quarter)&3<<4
			out[16*i+j] = scale * float32(int(q)-32)
		}
	}
}
