package text

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
)

// writeFolder makes a model folder. byte_level's tokenizer.json is put in unless files
// has one; an empty content leaves a file out.
func writeFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	tokenizer, err := os.ReadFile("testdata/byte_level.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"tokenizer.json": string(tokenizer)}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFolder(t *testing.T, files map[string]string) *Model {
	t.Helper()
	m, err := OpenFolder(writeFolder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestOpenFolderWithTokenizerAlone(t *testing.T) {
	m := openFolder(t, nil)
	if m.Template != nil || len(m.SpecialTokens) != 0 {
		t.Errorf("template %v, special tokens %v", m.Template, m.SpecialTokens)
	}
	end, _ := m.Tokenizer.TokenID("<|im_end|>") // a usual end of turn
	if !slices.Equal(m.EOSIDs, []int32{end}) {
		t.Errorf("EOSIDs %v, want [%d]", m.EOSIDs, end)
	}
	_, err := m.RenderChat(RenderOptions{Messages: oneMessage})
	wantFault(t, err, fault.Unsupported, "no chat template")
}

func TestOpenFolderSpecialTokens(t *testing.T) {
	m := openFolder(t, map[string]string{
		"tokenizer_config.json": `{
			"bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false},
			"eos_token": "</s>", "pad_token": null, "unk_token": "<new-unk>", "image_token": "<img>", "add_bos_token": false,
			"added_tokens_decoder": {"5000": {"content": "<later>", "special": false}, "4999": {"content": "<tool>", "lstrip": true, "normalized": false, "special": false}},
			"additional_special_tokens": ["<extra>", {"content": "<|im_start|>"}],
			"model_max_length": 1e30}`,
		"special_tokens_map.json": `{"eos_token": "ignored beside an added_tokens_decoder"}`,
		"generation_config.json":  `{"eos_token_id": [2, 7]}`,
		"config.json":             `{"eos_token_id": 9, "text_config": {"eos_token_id": 11}}`,
	})
	want := map[string]string{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<new-unk>", "image_token": "<img>"}
	for name, text := range want {
		if m.SpecialTokens[name] != text {
			t.Errorf("%s is %q, want %q", name, m.SpecialTokens[name], text)
		}
	}
	if len(m.SpecialTokens) != len(want) {
		t.Errorf("special tokens %v", m.SpecialTokens)
	}
	eos, _ := m.Tokenizer.TokenID("</s>")
	end, _ := m.Tokenizer.TokenID("<|im_end|>")
	ends := []int32{eos, end, 2, 7, 9, 11}
	slices.Sort(ends)
	if ends = slices.Compact(ends); !slices.Equal(m.EOSIDs, ends) {
		t.Errorf("EOSIDs %v, want %v", m.EOSIDs, ends)
	}
	ids, err := m.Tokenizer.Encode("a <tool><img><later><extra>", true)
	if err != nil {
		t.Fatal(err)
	}
	bos, _, _ := m.Tokenizer.BOS()
	if ids[0] != bos { // tokenizer.json's post-processor decides
		t.Errorf("ids %v do not begin with BOS", ids)
	}
	// <tool> strips the space before it now; the new special tokens are skipped.
	for skip, want := range map[bool]string{false: "<s>a<tool><img><later><extra>", true: "a<tool><later>"} {
		if got, err := m.Tokenizer.Decode(ids, skip); err != nil || got != want {
			t.Errorf("Decode(skip %v) = %q, %v; want %q", skip, got, err, want)
		}
	}
}

func TestOpenFolderSpecialTokensMap(t *testing.T) {
	m := openFolder(t, map[string]string{
		"tokenizer_config.json":   `{"eos_token": "<|im_end|>"}`,
		"special_tokens_map.json": `{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}`,
	})
	if _, text, ok := m.Tokenizer.BOS(); !ok || text != "<s>" {
		t.Errorf("BOS %q", text)
	}
	if m.SpecialTokens["eos_token"] != "</s>" {
		t.Errorf("EOS %q", m.SpecialTokens["eos_token"])
	}
}

func TestOpenFolderTemplates(t *testing.T) {
	config := `{"chat_template": "config"}`
	named := `{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools | length }}"}]}`
	for name, c := range map[string]struct {
		files           map[string]string
		plain, withTool string
	}{
		"config":  {map[string]string{"tokenizer_config.json": config}, "config", "config"},
		"json":    {map[string]string{"tokenizer_config.json": config, "chat_template.json": `{"chat_template": "json"}`}, "json", "json"},
		"jinja":   {map[string]string{"tokenizer_config.json": config, "chat_template.json": `{"chat_template": "json"}`, "chat_template.jinja": "jinja\n"}, "jinja", "jinja"},
		"named":   {map[string]string{"tokenizer_config.json": named}, "plain", "tools 1"},
		"as map":  {map[string]string{"tokenizer_config.json": `{"chat_template": {"default": "plain"}}`}, "plain", "plain"},
		"special": {map[string]string{"tokenizer_config.json": `{"bos_token": "<s>", "chat_template": "{{ bos_token }} {{ enable_thinking }}"}`}, "<s> False", "<s> False"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openFolder(t, c.files)
			got, err := m.RenderChat(RenderOptions{Messages: oneMessage})
			if err != nil || got != c.plain {
				t.Errorf("rendered %q, %v; want %q", got, err, c.plain)
			}
			got, err = m.RenderChat(RenderOptions{Messages: oneMessage, Tools: json.RawMessage(`[{"name":"f"}]`)})
			if err != nil || got != c.withTool {
				t.Errorf("with a tool %q, %v; want %q", got, err, c.withTool)
			}
		})
	}
}

func TestBrokenTemplateFailsOnlyWhenUsed(t *testing.T) {
	m := openFolder(t, map[string]string{"chat_template.jinja": "{% if %}"})
	_, err := m.RenderChat(RenderOptions{Messages: oneMessage})
	wantFault(t, err, fault.Tokenizer, "compile chat template")
}

func TestRenderChatKeepsTheCallersThinking(t *testing.T) {
	m := openFolder(t, map[string]string{"chat_template.jinja": "{{ enable_thinking }} {{ x }}"})
	got, err := m.RenderChat(RenderOptions{Messages: oneMessage, Kwargs: json.RawMessage(`{"x":1,"enable_thinking":true}`)})
	if err != nil || got != "True 1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOpenFolderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		kind  fault.Kind
		parts []string
	}{
		"no tokenizer":      {map[string]string{"tokenizer.json": ""}, fault.ModelLoad, []string{"no tokenizer.json", "accepted"}},
		"broken tokenizer":  {map[string]string{"tokenizer.json": `{"version":"1.0"`}, fault.Tokenizer, []string{"tokenizer.json"}},
		"broken config":     {map[string]string{"tokenizer_config.json": `{"bos_token`}, fault.ModelLoad, []string{"tokenizer_config.json"}},
		"broken generation": {map[string]string{"generation_config.json": `{"eos_token_id": "x"}`}, fault.ModelLoad, []string{"generation_config.json"}},
		"no default":        {map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "rag", "template": ""}]}`}, fault.ModelLoad, []string{"rag", "default"}},
		"id of added token": {map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {"x": {"content": "a"}}}`}, fault.ModelLoad, []string{`"x" is not an id`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeFolder(t, c.files)
			_, err := OpenFolder(dir)
			wantFault(t, err, c.kind, c.parts...)
			if strings.Contains(err.Error(), dir) {
				t.Errorf("the error holds the folder's path: %v", err)
			}
		})
	}
	_, err := OpenFolder(filepath.Join(t.TempDir(), "missing"))
	wantFault(t, err, fault.ModelLoad, "no tokenizer.json")
}

func TestOpenGGUF(t *testing.T) {
	m, err := OpenGGUF(smolLM2Vocab(t), "{{ bos_token }}|{{ messages[0].content }}|{{ pad_token }}", []int32{-1, 5})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := m.RenderChat(RenderOptions{Messages: oneMessage})
	if err != nil || got != "<|im_start|>|hi|<|im_end|>" {
		t.Errorf("rendered %q, %v", got, err)
	}
	endOfText, _ := m.Tokenizer.TokenID("<|endoftext|>")
	if want := []int32{endOfText, 2, 5}; !slices.Equal(m.EOSIDs, want) {
		t.Errorf("EOSIDs %v, want %v", m.EOSIDs, want)
	}
	m.Close()
	if _, err := m.Tokenizer.Encode("x", false); err == nil {
		t.Error("encoded after Close")
	}
}

func TestHarmonyEndIsNotTheEnd(t *testing.T) {
	vocab := func(extra ...string) GGUFVocab {
		v := GGUFVocab{Model: "gpt2", Pre: "gpt-4o", Tokens: []string{"a", "b", "ab"}, Types: []int32{1, 1, 1}, Merges: []string{"a b"}, BOS: -1, EOS: -1, UNK: -1, PAD: -1}
		for _, token := range extra {
			v.Tokens, v.Types = append(v.Tokens, token), append(v.Types, ggufTypeControl)
		}
		return v
	}
	for name, c := range map[string]struct {
		v    GGUFVocab
		want []int32
	}{
		"phi":     {vocab("<|end|>"), []int32{3}},
		"harmony": {vocab("<|end|>", "<|return|>", "<|call|>"), []int32{4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := OpenGGUF(c.v, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if !slices.Equal(m.EOSIDs, c.want) {
				t.Errorf("EOSIDs %v, want %v", m.EOSIDs, c.want)
			}
		})
	}
}
