package load_test

import (
	"testing"

	"mlx-worker/gpu/load"
)

// TestInfinityOfPython: Python writes a time_step_limit without an end as no JSON.
func TestInfinityOfPython(t *testing.T) {
	c, err := load.ParseConfig([]byte(`{"model_type": "mamba2", "time_step_limit": [0.0, Infinity]}`))
	if err != nil {
		t.Fatal(err)
	}
	var fields struct {
		Limit []any `json:"time_step_limit"`
	}
	if err := c.Decode(&fields); err != nil || len(fields.Limit) != 2 {
		t.Errorf("got %v, %v", fields.Limit, err)
	}
}
