package text

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
)

// templateGolden is what transformers renders from each template and conversation.
type templateGolden struct {
	Now           string            `json:"now"`
	SpecialTokens map[string]string `json:"special_tokens"`
	Conversations []struct {
		Messages            json.RawMessage `json:"messages"`
		Tools               json.RawMessage `json:"tools"`
		Kwargs              json.RawMessage `json:"kwargs"`
		AddGenerationPrompt bool            `json:"add_generation_prompt"`
	} `json:"conversations"`
	Rendered map[string][]struct {
		Text  *string `json:"text"`
		Error string  `json:"error"` // Python's
	} `json:"rendered"`
}

const smolLM2Template = "smollm2 (in the GGUF file)"

func templateSource(t *testing.T, name string) string {
	t.Helper()
	if name != smolLM2Template {
		source, err := os.ReadFile(filepath.Join("testdata", "templates", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(source)
	}
	smolLM2Vocab(t) // skips without the model
	file, err := gguf.Open(smolLM2File)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	source, _, err := gguf.Get[string](file, "tokenizer.chat_template")
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestTemplatesEqualTransformers(t *testing.T) {
	var golden templateGolden
	readGolden(t, "templates.golden.json", &golden)
	now, err := time.Parse("2006-01-02T15:04:05.999999", golden.Now)
	if err != nil {
		t.Fatal(err)
	}
	for name, results := range golden.Rendered {
		t.Run(name, func(t *testing.T) {
			template, err := ParseTemplate(templateSource(t, name))
			if err != nil {
				if results[0].Error == "" {
					t.Fatal(err)
				}
				wantFault(t, err, fault.Tokenizer, "compile chat template", "line")
				return
			}
			defer template.Close()
			for i, c := range golden.Conversations {
				got, err := template.Render(RenderOptions{
					Messages: c.Messages, Tools: c.Tools, Kwargs: c.Kwargs, AddGenerationPrompt: c.AddGenerationPrompt,
					SpecialTokens: golden.SpecialTokens, Now: now,
				})
				want := results[i]
				switch {
				case want.Text == nil && err == nil:
					t.Errorf("conversation %d: rendered %q, want an error as %s", i, got, want.Error)
				case want.Text != nil && err != nil:
					t.Errorf("conversation %d: %v", i, err)
				case want.Text != nil && got != *want.Text:
					at := differsAt(got, *want.Text)
					t.Errorf("conversation %d at byte %d:\n got %.200q\nwant %.200q", i, at, got[at:], (*want.Text)[at:])
				}
			}
		})
	}
}

// differsAt is the length of the common beginning of a and b.
func differsAt(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

var oneMessage = json.RawMessage(`[{"role":"user","content":"hi"}]`)

func TestRenderRefusals(t *testing.T) {
	template, err := ParseTemplate("{% if tools %}{{ raise_exception('no ' ~ 'tools') }}{% endif %}{{ messages }}")
	if err != nil {
		t.Fatal(err)
	}
	defer template.Close()
	for name, c := range map[string]struct {
		o     RenderOptions
		kind  fault.Kind
		parts []string
	}{
		"no messages":       {RenderOptions{}, fault.Tokenizer, []string{"messages is empty"}},
		"empty messages":    {RenderOptions{Messages: json.RawMessage(" [ ] ")}, fault.Tokenizer, []string{"messages is empty"}},
		"message type":      {RenderOptions{Messages: json.RawMessage(`["hi"]`)}, fault.Tokenizer, []string{"expected a map"}},
		"broken JSON":       {RenderOptions{Messages: json.RawMessage(`[{]`)}, fault.Tokenizer, nil},
		"tool type":         {RenderOptions{Messages: oneMessage, Tools: json.RawMessage(`[1]`)}, fault.Tokenizer, []string{"expected a map"}},
		"raised":            {RenderOptions{Messages: oneMessage, Tools: json.RawMessage(`[{}]`)}, fault.Tokenizer, []string{"raised by the template: no tools (line 1)"}},
		"kwargs type":       {RenderOptions{Messages: oneMessage, Kwargs: json.RawMessage(`[]`)}, fault.Tokenizer, []string{"chat_template_kwargs"}},
		"reserved kwargs":   {RenderOptions{Messages: oneMessage, Kwargs: json.RawMessage(`{"continue_final_message":true}`)}, fault.Unsupported, []string{"continue_final_message"}},
		"lone surrogate":    {RenderOptions{Messages: json.RawMessage(`[{"role":"\ud800"}]`)}, fault.Tokenizer, nil},
		"nested too deeply": {RenderOptions{Messages: json.RawMessage(`[{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}]`)}, fault.Tokenizer, []string{"recursion"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := template.Render(c.o)
			wantFault(t, err, c.kind, c.parts...)
		})
	}
}

func TestRunawayTemplatesAreStopped(t *testing.T) {
	for source, part := range map[string]string{
		"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "steps",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}":                                "recursion",
		"{% set x = 'a' * 100000 %}{% for a in range(99999) %}{{ x }}{% endfor %}":       "steps",
		"{{ " + strings.Repeat("(", 5000) + strings.Repeat(")", 5000) + " }}":            "recursion",
	} {
		template, err := ParseTemplate(source)
		if err == nil {
			_, err = template.Render(RenderOptions{Messages: oneMessage})
			template.Close()
		}
		wantFault(t, err, fault.Tokenizer, part)
	}
}

func TestTemplateConcurrentUseAndClose(t *testing.T) {
	template, err := ParseTemplate("{{ messages[0].content }}{{ strftime_now('%Y') }}")
	if err != nil {
		t.Fatal(err)
	}
	rendered := make(chan struct{}, 1)
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				got, err := template.Render(RenderOptions{Messages: oneMessage, Now: time.Unix(0, 0).UTC()})
				if err != nil {
					wantClosed(t, err)
					return
				}
				if got != "hi1970" {
					t.Errorf("rendered %q", got)
					return
				}
				select {
				case rendered <- struct{}{}:
				default:
				}
			}
		})
	}
	<-rendered
	template.Close()
	template.Close()
	users.Wait()
}

func wantClosed(t *testing.T, err error) {
	if !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
