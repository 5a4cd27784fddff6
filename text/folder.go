package text

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/pyjson"
)

// Largest files that OpenFolder reads.
const (
	maxTokenizerBytes = 512 << 20
	maxConfigBytes    = 32 << 20
)

// OpenFolder builds the text side of a model in Hugging Face's layout:
//   - tokenizer.json, which must exist. Beside the class LlamaTokenizer it is read with that
//     class's pipeline, as in transformers 5;
//   - tokenizer_config.json and special_tokens_map.json for special and added tokens. Their
//     add_bos_token and add_eos_token have no effect beside a tokenizer.json, whose
//     post-processor decides, as in transformers 5;
//   - generation_config.json and config.json for ids that end a generation;
//   - the chat template from chat_template.jinja, else chat_template.json, else
//     tokenizer_config.json. Of named templates "default" is taken, and "tool_use" when a
//     rendering has tools.
func OpenFolder(dir string) (*Model, error) {
	folder := modelFolder(dir)
	tokenizerJSON, err := folder.read("tokenizer.json", maxTokenizerBytes)
	if err != nil {
		return nil, err
	}
	if tokenizerJSON == nil {
		return nil, fault.New(fault.ModelLoad,
			"the model folder has no tokenizer.json; accepted: tokenizer.json (tokenizer.model and vocab.json are not read)").
			With("file", "tokenizer.json")
	}
	var config tokenizerConfig
	if err := folder.readJSON("tokenizer_config.json", &config); err != nil {
		return nil, err
	}
	if config.AddedTokensDecoder == nil {
		var overrides map[string]json.RawMessage
		if err := folder.readJSON("special_tokens_map.json", &overrides); err != nil {
			return nil, err
		}
		config.merge(overrides)
	}
	opts, err := config.options()
	if err != nil {
		return nil, err
	}
	templates, err := folder.chatTemplates(config.ChatTemplate)
	if err != nil {
		return nil, err
	}
	ends, modelType, err := folder.modelConfig()
	if err != nil {
		return nil, err
	}
	if tokenizerJSON, err = config.asLlama(tokenizerJSON, modelType); err != nil {
		return nil, err
	}
	tokenizer, err := LoadTokenizerJSON(tokenizerJSON, opts)
	if err != nil {
		return nil, err
	}
	m := &Model{Tokenizer: tokenizer, SpecialTokens: opts.SpecialTokens, EOSIDs: tokenizer.endIDs(ends)}
	if templates != nil {
		m.Template = modelTemplate(templates)
	}
	return m, nil
}

type modelFolder string

// read returns a file's content, nil if there is no such file.
func (f modelFolder) read(name string, limit int64) ([]byte, error) {
	file, err := os.Open(filepath.Join(string(f), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readFault(name, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, readFault(name, err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.ModelLoad, "%s is larger than %d bytes", name, limit).With("file", name)
	}
	return data, nil
}

// readFault leaves out the path, which the cause repeats.
func readFault(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fault.New(fault.ModelLoad, "read %s: %w", name, err).With("file", name)
}

// readJSON decodes a file if it exists.
func (f modelFolder) readJSON(name string, target any) error {
	data, err := f.read(name, maxConfigBytes)
	if err != nil || data == nil {
		return err
	}
	if err := json.Unmarshal(pyjson.Standard(data), target); err != nil {
		return fault.New(fault.ModelLoad, "%s: %w", name, err).With("file", name)
	}
	return nil
}

// modelConfig collects eos_token_id of generation_config.json and config.json, and reads the
// model's type.
func (f modelFolder) modelConfig() (eos []int32, modelType string, err error) {
	type ends struct {
		EOS idList `json:"eos_token_id"`
	}
	var generation ends
	var config struct {
		ends
		Text      ends   `json:"text_config"`
		ModelType string `json:"model_type"`
	}
	if err := f.readJSON("generation_config.json", &generation); err != nil {
		return nil, "", err
	}
	if err := f.readJSON("config.json", &config); err != nil {
		return nil, "", err
	}
	return slices.Concat(generation.EOS, config.EOS, config.Text.EOS), config.ModelType, nil
}

// idList is a token id, a list of them, or null.
type idList []int32

func (l *idList) UnmarshalJSON(data []byte) error {
	var id *int32
	if err := json.Unmarshal(data, &id); err == nil {
		*l = nil
		if id != nil {
			*l = idList{*id}
		}
		return nil
	}
	return json.Unmarshal(data, (*[]int32)(l))
}

// chatTemplates returns the model's templates by name, nil if there are none.
func (f modelFolder) chatTemplates(fromConfig namedTemplates) (map[string]string, error) {
	jinja, err := f.read("chat_template.jinja", maxConfigBytes)
	if err != nil {
		return nil, err
	}
	if jinja != nil {
		return map[string]string{"default": string(jinja)}, nil
	}
	var file struct {
		ChatTemplate namedTemplates `json:"chat_template"`
	}
	if err := f.readJSON("chat_template.json", &file); err != nil {
		return nil, err
	}
	name, templates := "chat_template.json", file.ChatTemplate
	if templates == nil {
		name, templates = "tokenizer_config.json", fromConfig
	}
	if templates == nil {
		return nil, nil
	}
	if _, ok := templates["default"]; !ok {
		return nil, fault.New(fault.ModelLoad, "%s has the chat templates %s, and none named \"default\"",
			name, strings.Join(sortedKeys(templates), ", ")).With("file", name)
	}
	return templates, nil
}

// namedTemplates is chat_template in its forms: a template, a list of {name, template}, an
// object of them, or null.
type namedTemplates map[string]string

func (t *namedTemplates) UnmarshalJSON(data []byte) error {
	var single *string
	if err := json.Unmarshal(data, &single); err == nil {
		if single != nil {
			*t = namedTemplates{"default": *single}
		}
		return nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(data, &list); err == nil {
		*t = namedTemplates{}
		for _, item := range list {
			(*t)[item.Name] = item.Template
		}
		return nil
	}
	return json.Unmarshal(data, (*map[string]string)(t))
}

// tokenizerConfig is the part of tokenizer_config.json that is read.
type tokenizerConfig struct {
	ChatTemplate       namedTemplates         `json:"chat_template"`
	AddedTokensDecoder map[string]configToken `json:"added_tokens_decoder"`
	CleanUp            bool                   `json:"clean_up_tokenization_spaces"`
	Class              string                 `json:"tokenizer_class"`
	Legacy             bool                   `json:"legacy"`
	AddPrefixSpace     *bool                  `json:"add_prefix_space"`
	ExtraSpecial       json.RawMessage        `json:"extra_special_tokens"`
	AdditionalSpecial  json.RawMessage        `json:"additional_special_tokens"`

	named map[string]configToken // every "…_token" that is one
}

func (c *tokenizerConfig) UnmarshalJSON(data []byte) error {
	type plain tokenizerConfig
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	c.named = map[string]configToken{}
	c.merge(all)
	return nil
}

// merge takes special tokens from an object of the form of special_tokens_map.json.
func (c *tokenizerConfig) merge(all map[string]json.RawMessage) {
	if c.named == nil {
		c.named = map[string]configToken{}
	}
	for name, raw := range all {
		var token configToken
		switch {
		case name == "extra_special_tokens":
			c.ExtraSpecial = raw
		case name == "additional_special_tokens":
			c.AdditionalSpecial = raw
		// Flags such as add_bos_token are no tokens and do not decode as one.
		case strings.HasSuffix(name, "_token") && json.Unmarshal(raw, &token) == nil && token.Content != "":
			c.named[name] = token
		}
	}
}

// configToken is a token as configs write it: its text, or an AddedToken's fields.
type configToken struct{ AddedToken }

func (t *configToken) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &t.Content); err == nil {
		t.Special = true
		return nil
	}
	var fields struct {
		AddedToken
		Normalized *bool `json:"normalized"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	t.AddedToken = fields.AddedToken
	t.Normalized = !t.Special
	if fields.Normalized != nil {
		t.Normalized = *fields.Normalized
	}
	return nil
}

// options resolves what the tokenizer is loaded with.
func (c *tokenizerConfig) options() (TokenizerOptions, error) {
	opts := TokenizerOptions{SpecialTokens: map[string]string{}, CleanUpTokenizationSpaces: c.CleanUp}
	for name, token := range c.named {
		opts.SpecialTokens[name] = token.Content
	}
	extra := c.ExtraSpecial
	if isNull(extra) {
		extra = c.AdditionalSpecial
	}
	if !isNull(extra) {
		var list []configToken
		if err := json.Unmarshal(extra, &list); err != nil {
			var named map[string]configToken
			if err := json.Unmarshal(extra, &named); err != nil {
				return opts, fault.New(fault.ModelLoad, "tokenizer_config.json: extra_special_tokens: %w", err)
			}
			for name, token := range named {
				opts.SpecialTokens[name] = token.Content
			}
		}
		for _, token := range list {
			opts.ExtraSpecialTokens = append(opts.ExtraSpecialTokens, token.Content)
		}
	}
	ids := map[int]AddedToken{}
	for key, token := range c.AddedTokensDecoder {
		id, err := strconv.Atoi(key)
		if err != nil {
			return opts, fault.New(fault.ModelLoad, "tokenizer_config.json: added_tokens_decoder: %q is not an id", key)
		}
		ids[id] = token.AddedToken
	}
	for _, id := range sortedKeys(ids) {
		opts.AddedTokens = append(opts.AddedTokens, ids[id])
	}
	return opts, nil
}
