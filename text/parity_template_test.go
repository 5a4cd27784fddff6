package text

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// parityFolder holds the real tokenizers and templates that parity/text_sources.json pins.
const parityFolder = "../.deps/text-parity"

func skipWithoutParityFiles(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(parityFolder); err != nil {
		t.Skipf("the real tokenizers and templates are missing (scripts/text-parity.sh fetches them): %v", err)
	}
}

// realTemplateGolden is what transformers makes of real templates: see
// parity/make_template_goldens.py.
type realTemplateGolden struct {
	Now           string                  `json:"now"`
	SpecialTokens map[string]string       `json:"special_tokens"`
	Conversations orderedMap[chatRequest] `json:"conversations"`
	Templates     map[string]struct {
		Source  string   `json:"source"`
		Outputs []string `json:"outputs"` // by conversation: a hash, or raises
	} `json:"templates"`
}

type chatRequest struct {
	Messages            json.RawMessage `json:"messages"`
	Tools               json.RawMessage `json:"tools"`
	Kwargs              json.RawMessage `json:"kwargs"`
	AddGenerationPrompt bool            `json:"add_generation_prompt"`
}

// orderedMap is a JSON object's members in the order in which they are written.
type orderedMap[V any] struct {
	keys   []string
	values []V
}

func (m *orderedMap[V]) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		var value V
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		m.keys, m.values = append(m.keys, key.(string)), append(m.values, value)
	}
	return nil
}

// knownTemplateDifferences are the templates whose renderings with tools differ from
// transformers', and why.
var knownTemplateDifferences = map[string]string{
	"llama.cpp/meetkai-functionary-medium-v3.1": "Python's safe makes the + after it escape HTML, which spoils the prompt",
	"llama.cpp/llama-cpp-deepseek-r1":           "Python cannot print what map returns as JSON, and raises",
}

func TestRealTemplatesEqualTransformers(t *testing.T) {
	skipWithoutParityFiles(t)
	var golden realTemplateGolden
	readGolden(t, "../../parity/template_goldens.json", &golden)
	if len(golden.Templates) < 40 {
		t.Fatalf("%d templates, want at least 40", len(golden.Templates))
	}
	now, err := time.Parse("2006-01-02T15:04:05.999999", golden.Now)
	if err != nil {
		t.Fatal(err)
	}
	renderings, equal := 0, 0
	for name, want := range golden.Templates {
		source := realTemplate(t, name)
		if got := digest(source); got != want.Source {
			t.Errorf("%s is not the template of the golden file: %s, want %s", name, got, want.Source)
			continue
		}
		template := lazyTemplate(source)
		defer template.Close()
		before := renderings - equal
		for i, request := range golden.Conversations.values {
			rendered, err := template.Render(RenderOptions{
				Messages: request.Messages, Tools: request.Tools, Kwargs: request.Kwargs,
				AddGenerationPrompt: request.AddGenerationPrompt, SpecialTokens: golden.SpecialTokens, Now: now,
			})
			got := digest(rendered)
			if err != nil {
				got = "raises"
			}
			renderings++
			if got == want.Outputs[i] {
				equal++
			} else if knownTemplateDifferences[name] == "" || isNull(request.Tools) {
				t.Errorf("%s, %q: %s, want %s; rendered %q, %v", name, golden.Conversations.keys[i], got, want.Outputs[i], rendered, err)
			}
		}
		if knownTemplateDifferences[name] != "" && renderings-equal == before {
			t.Errorf("%s is listed as different and is not", name)
		}
	}
	t.Logf("%d of %d renderings of %d templates equal", equal, renderings, len(golden.Templates))
	if equal*100 < renderings*99 {
		t.Errorf("%d of %d renderings are equal, want 99 %%", equal, renderings)
	}
}

// realTemplate reads a template by the name that the golden file gives it.
func realTemplate(t *testing.T, name string) string {
	t.Helper()
	if model, ok := strings.CutPrefix(name, "config/"); ok {
		var config struct {
			ChatTemplate string `json:"chat_template"`
		}
		if err := modelFolder(filepath.Join(parityFolder, "tokenizers", model)).readJSON("tokenizer_config.json", &config); err != nil {
			t.Fatal(err)
		}
		return config.ChatTemplate
	}
	source, err := os.ReadFile(filepath.Join(parityFolder, "templates", name+".jinja"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v: run scripts/text-parity.sh again", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// digest is twelve hex digits, as the golden files hold.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:12]
}
