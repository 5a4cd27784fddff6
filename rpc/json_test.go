package rpc

import (
	"encoding/json"
	"math"
	"testing"

	"mlx-worker/rpc/wire"
)

func TestAppendJSON(t *testing.T) {
	encode := func(v any) []byte {
		b, err := wire.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		value []byte
		want  string // empty: an error
	}{
		"nil":               {encode(nil), "null"},
		"booleans":          {encode([]bool{true, false}), "[true,false]"},
		"integers":          {encode([]int64{0, -1, 127, -128, 65536, math.MaxInt64, math.MinInt64}), "[0,-1,127,-128,65536,9223372036854775807,-9223372036854775808]"},
		"floats":            {encode([]float64{0.5, -1e300, 3}), "[0.5,-1e+300,3]"},
		"float32":           {encode(float32(0.25)), "0.25"},
		"string":            {encode("a\"b\\\n\u2028é🌍"), `"a\"b\\\n\u2028é🌍"`},
		"invalid UTF-8":     {encode("a\xffb"), `"a\ufffdb"`},
		"empty":             {encode([]any{[]any{}, map[string]any{}}), "[[],{}]"},
		"order of keys":     {[]byte("\x83\xa1b\x01\xa1a\x02\xa1c\x81\xa1z\xc0"), `{"b":1,"a":2,"c":{"z":null}}`},
		"duplicate key":     {[]byte("\x82\xa1a\x01\xa1a\x02"), ""},
		"NaN":               {encode(math.NaN()), ""},
		"infinity":          {encode([]float64{math.Inf(-1)}), ""},
		"too large integer": {encode(uint64(math.MaxUint64)), ""},
		"binary":            {encode(map[string]any{"a": []byte{1}}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := wire.Check(c.value)
			if err != nil {
				t.Fatal(err)
			}
			got, err := appendJSON(nil, value)
			if c.want == "" {
				if err == nil {
					t.Fatalf("got %s, want an error", got)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Fatalf("got %s, %v, want %s", got, err, c.want)
			}
			if !json.Valid(got) {
				t.Error("that is not JSON")
			}
		})
	}
}
