package rpc

import (
	"testing"

	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// FuzzDecodeArgs decodes any params by the table of every method: what is not accepted is a
// fault of the client's, what is accepted can be read by its getters and as JSON.
func FuzzDecodeArgs(f *testing.F) {
	for _, seed := range []any{
		nil, msg{}, []int{1}, msg{"model_id": "m", "prompt": "x", "max_tokens": 5, "temperature": 0.5, "stop_sequences": []string{"a"}},
		msg{"model_id": "m", "messages": []msg{{"role": "user", "content": []msg{{"type": "text", "text": "x"}}}}, "tools": []msg{}},
		msg{"model_id": "m", "tokens": []int{1, -1, 1 << 40}}, msg{"requests": []msg{{"text": "x"}}}, msg{"drain_ms": nil},
	} {
		b, err := wire.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		params, err := wire.Check(data)
		if err != nil {
			return
		}
		for _, m := range Methods {
			a, err := decodeArgs(m.Params, params)
			if err != nil {
				if !fault.Is(err, fault.InvalidParams) && !fault.Is(err, fault.Unsupported) {
					t.Errorf("%s: %v", m.Name, err)
				}
				continue
			}
			for _, p := range m.Params {
				if p.Required && !a.has(p.Name) {
					t.Errorf("%s: %s is required and absent", m.Name, p.Name)
				}
				if v, ok := a.values[p.Name].(wire.Value); ok {
					_, _ = appendJSON(nil, v)
					if p.Name == "messages" {
						_ = checkMessages(v)
					}
				}
			}
		}
	})
}
