package load_test

import (
	"strings"
	"testing"

	"mlx-worker/gpu/load"
)

func parse(t *testing.T, raw string) *load.Config {
	t.Helper()
	config, err := load.ParseConfig([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestTextConfigurationsOfMultimodalModels takes keys and formats from where they may be.
func TestTextConfigurationsOfMultimodalModels(t *testing.T) {
	whole := parse(t, `{"model_type":"both","tie_word_embeddings":false,
		"text_config":{"model_type":"words","max_position_embeddings":77,"hidden_size":8},
		"quantization":{"group_size":64,"bits":4,"words.head":{"group_size":32,"bits":8}}}`)
	if whole.MaxLength != 77 {
		t.Errorf("the whole's length is %d, want 77", whole.MaxLength)
	}
	text, err := whole.Text(func(path string) string { return strings.TrimPrefix(path, "words.") })
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Hidden int   `json:"hidden_size"`
		Tied   *bool `json:"tie_word_embeddings"`
	}
	if err := text.Decode(&keys); err != nil {
		t.Fatal(err)
	}
	if text.ModelType != "words" || text.MaxLength != 77 || keys.Hidden != 8 || keys.Tied == nil || *keys.Tied {
		t.Errorf("got model_type %q, length %d and keys %+v", text.ModelType, text.MaxLength, keys)
	}
	if q := text.LayerQuantization("head"); q == nil || q.Bits != 8 {
		t.Errorf("the head is quantised as %v, want 8 bits", q)
	}
	if q := text.LayerQuantization("body"); q == nil || q.Bits != 4 {
		t.Errorf("the body is quantised as %v, want 4 bits", q)
	}
	own := parse(t, `{"model_type":"both","tie_word_embeddings":false,"max_position_embeddings":5,
		"text_config":{"tie_word_embeddings":true,"max_position_embeddings":6}}`)
	if text, err = own.Text(strings.Clone); err != nil {
		t.Fatal(err)
	}
	if err := text.Decode(&keys); err != nil || !*keys.Tied || text.ModelType != "both" || text.MaxLength != 6 {
		t.Errorf("got tied %t, model_type %q, length %d, error %v", *keys.Tied, text.ModelType, text.MaxLength, err)
	}
}

func TestTextConfigurationsThatCannotBeRead(t *testing.T) {
	for raw, says := range map[string]string{
		`{"model_type":"both"}`:                    "a both model has no text_config",
		`{"model_type":"both","text_config":null}`: "a both model has no text_config",
		`{"model_type":"both","max_position_embeddings":1,"text_config":{"model_type":7}}`:               "model_type",
		`{"model_type":"both","max_position_embeddings":1,"text_config":{"max_position_embeddings":-1}}`: "max_position_embeddings is -1",
	} {
		_, err := parse(t, raw).Text(strings.Clone)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", raw, err, says)
		}
	}
}

func TestLengthsThatConfigurationsLeaveOut(t *testing.T) {
	if got := parse(t, `{"model_type":"gemma3","text_config":{"hidden_size":2560}}`).MaxLength; got != 131072 {
		t.Errorf("Gemma 3's length is %d, want 131072", got)
	}
}
