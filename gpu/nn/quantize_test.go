package nn_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/models"
	"mlx-worker/gpu/nn"
)

// conversionGolden is parity/convert_goldens.json.
type conversionGolden struct {
	Config  json.RawMessage `json:"config"`
	Formats []struct {
		load.QuantSpec
		CRC32 map[string]uint32 `json:"crc32"` // by the array's name
	} `json:"formats"`
}

// addValues appends an array of numbers that make_convert_goldens.py makes too.
func (c *checkpoint) addValues(name string, shape ...int) {
	a := load.Array{Name: name, DType: mlx.Float32, Shape: shape}
	a.Fill = func(dst []byte) error {
		key := uint64(crc32.ChecksumIEEE([]byte(name)))
		for i := range uint64(len(dst) / 4) {
			v := float32((i*2654435761+key)>>7%(1<<16))/(1<<15) - 1
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		return nil
	}
	c.arrays = append(c.arrays, a)
}

// TestConversionEqualsMLXLMBitForBit compares every array that mlx_lm.convert writes.
func TestConversionEqualsMLXLMBitForBit(t *testing.T) {
	raw, err := os.ReadFile("../../parity/convert_goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden conversionGolden
	if err := json.Unmarshal(raw, &golden); err != nil || len(golden.Formats) == 0 {
		t.Fatalf("%d formats, %v", len(golden.Formats), err)
	}
	config, err := load.ParseConfig(golden.Config)
	if err != nil {
		t.Fatal(err)
	}
	shapes := convertedShapes()
	d := newDevice(t)
	for _, f := range golden.Formats {
		t.Run(fmt.Sprintf("%s-%d-%d", f.Mode, f.Bits, f.GroupSize), func(t *testing.T) {
			conversion, err := models.Convert(config, &f.QuantSpec)
			if err != nil {
				t.Fatal(err)
			}
			c := &checkpoint{config: config}
			for name, shape := range shapes {
				c.addValues(name, shape...)
			}
			b := nn.NewBuilder(c, nn.Policy{Backend: mlx.CPU, Conversion: conversion}, d.rt.Stream, d.do, func(int64, int64) {})
			made := map[string]*mlx.Ref{}
			for name, shape := range shapes {
				if len(shape) == 1 {
					made[name] = b.Parameter(name, shape...)
					continue
				}
				path := strings.TrimSuffix(name, ".weight")
				for part, ref := range b.Stored(path, shape[1], shape[0]) {
					made[path+part] = ref
				}
			}
			weights, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(f.CRC32)); !slices.Equal(got, want) {
				t.Errorf("arrays %v, want %v", got, want)
			}
			for name, ref := range made {
				if sum := d.checksum(t, ref); sum != f.CRC32[name] {
					t.Errorf("%s differs", name)
				}
			}
			d.free(t, weights)
		})
	}
}

// convertedShapes are the arrays of the golden's configuration, before quantisation.
func convertedShapes() map[string][]int {
	const hidden, inner, vocab = 128, 192, 64
	const layer = "model.layers.0."
	shapes := map[string][]int{
		"model.embed_tokens.weight": {vocab, hidden}, "lm_head.weight": {vocab, hidden}, "model.norm.weight": {hidden},
		layer + "input_layernorm.weight": {hidden}, layer + "post_attention_layernorm.weight": {hidden},
		layer + "mlp.gate_proj.weight": {inner, hidden}, layer + "mlp.up_proj.weight": {inner, hidden}, layer + "mlp.down_proj.weight": {hidden, inner},
	}
	for _, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
		shapes[layer+"self_attn."+name+".weight"] = []int{hidden, hidden}
	}
	return shapes
}

// checksum is the CRC-32 of the elements; of floats as float32.
func (d *device) checksum(t *testing.T, ref *mlx.Ref) (sum uint32) {
	t.Helper()
	d.run(t, func() error {
		var data []byte
		if ref.Array().DType().IsFloat() {
			values, err := mlx.ReadFloat32s(d.rt.Stream, ref.Array())
			if err != nil {
				return err
			}
			for _, v := range values {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
		} else {
			values, err := mlx.ReadUint32s(d.rt.Stream, ref.Array())
			if err != nil {
				return err
			}
			for _, v := range values {
				if data = append(data, byte(v)); ref.Array().DType() == mlx.Uint32 {
					data = append(data, byte(v>>8), byte(v>>16), byte(v>>24))
				}
			}
		}
		sum = crc32.ChecksumIEEE(data)
		return nil
	})
	return sum
}
