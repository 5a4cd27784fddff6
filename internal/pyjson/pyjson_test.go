package pyjson_test

import (
	"encoding/json"
	"testing"

	"mlx-worker/internal/pyjson"
)

func TestStandard(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": [0.0, 1e5]}`:                      `{"a": [0.0, 1e5]}`,
		`[0.0, Infinity]`:                        `[0.0, {"__float__": "Infinity"}]`,
		`{"a":-Infinity,"b":NaN}`:                `{"a":{"__float__": "-Infinity"},"b":{"__float__": "NaN"}}`,
		`{"Infinity": "NaN", "x": Infinity}`:     `{"Infinity": "NaN", "x": {"__float__": "Infinity"}}`,
		`{"a\"": "\\", "b": [NaN, "-Infinity"]}`: `{"a\"": "\\", "b": [{"__float__": "NaN"}, "-Infinity"]}`,
		`"Infinity\`:                             `"Infinity\`,
	} {
		got := string(pyjson.Standard([]byte(in)))
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		if in != `"Infinity\` && !json.Valid([]byte(got)) {
			t.Errorf("%s is not JSON", got)
		}
	}
}
