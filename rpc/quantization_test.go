package rpc

import (
	"strings"
	"testing"
)

func TestQuantizationReachesTheEngine(t *testing.T) {
	stored := msg{"mode": "affine", "bits": 4, "group_size": 32} // of the fake engine's models
	serve(t, &fakeEngine{}, func(w *worker) {
		for _, c := range []struct{ asked, want any }{
			{nil, stored},
			{"none", stored},
			{"int4", msg{"mode": "affine", "bits": 4, "group_size": 64}},
			{"int8", msg{"mode": "affine", "bits": 8, "group_size": 64}},
			{msg{"mode": "mxfp8", "bits": 8, "group_size": 32}, msg{"mode": "mxfp8", "bits": 8, "group_size": 32}},
			{msg{"bits": 3, "group_size": nil}, msg{"mode": "affine", "bits": 3, "group_size": 0}}, // 0: the engine's default
		} {
			loaded := w.call("load_model", msg{"model_id": "m", "quantization": c.asked})
			equal(t, "quantization", loaded["quantization"], c.want)
			w.call("unload_model", msg{"model_id": "m"})
		}
		for _, bad := range []any{"int3", 4, true, []any{}, msg{"bits": "4"}, msg{"bits": 0}, msg{"bits": 1 << 40}, msg{"group": 32}, msg{"mode": 1}} {
			data := w.fail("load_model", msg{"model_id": "m", "quantization": bad}, "InvalidParams")
			if accepted, _ := data["accepted"].(string); data["param"] != "quantization" || !strings.Contains(accepted, "group_size") {
				t.Errorf("%v: data %v", bad, data)
			}
		}
		w.call("load_model", msg{"model_id": "m", "quantization": "int4"})
		w.fail("load_model", msg{"model_id": "m", "quantization": "int8"}, "Busy")
	})
}
