package rpc

import (
	"mlx-worker/batcher"
	"mlx-worker/rpc/wire"
)

// quantizationNames are the short forms of a format to quantise to.
var quantizationNames = map[string]batcher.Quantization{
	"none": {},
	"int4": {Mode: "affine", Bits: 4, GroupSize: 64},
	"int8": {Mode: "affine", Bits: 8, GroupSize: 64},
}

// quantizationParam takes a format to quantise to while loading. Which bits go with which group
// size is the engine's matter.
func quantizationParam(name, doc string) Param {
	return Param{
		Name:    name,
		Type:    "string | Readonly<Record<string, unknown>>",
		Accepts: `"none", "int4", "int8" (affine, groups of 64), or an object of mode ("affine", "mxfp4", "mxfp8", "nvfp4"), bits and group_size, which are mlx-lm's where they are left out`,
		Doc:     doc,
		decode:  decodeQuantization,
	}
}

func decodeQuantization(v wire.Value) (any, bool) {
	switch v.Class() {
	case wire.String:
		short, _ := v.Text()
		q, known := quantizationNames[short]
		return q, known
	case wire.Map:
		return decodeFormat(v)
	}
	return nil, false
}

func decodeFormat(v wire.Value) (any, bool) {
	q := batcher.Quantization{Mode: "affine"}
	for key, field := range v.Entries() {
		if field.Class() == wire.Nil {
			continue
		}
		ok := false
		switch key {
		case "mode":
			q.Mode, ok = field.Text()
		case "bits":
			q.Bits, ok = positive(field)
		case "group_size":
			q.GroupSize, ok = positive(field)
		}
		if !ok {
			return nil, false
		}
	}
	return q, true
}

// positive is v as a count of at most 1024.
func positive(v wire.Value) (int, bool) {
	n, ok := v.Int()
	return int(n), ok && n > 0 && n <= 1024
}
