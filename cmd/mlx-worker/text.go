package main

import (
	"mlx-worker/internal/modelfiles"
	"mlx-worker/rpc"
	"mlx-worker/text"
)

// textModel is a text.Model as rpc sees it.
type textModel struct{ *text.Model }

func openText(path string) (rpc.TextModel, error) {
	m, err := modelfiles.OpenText(path)
	if err != nil {
		return nil, err
	}
	return textModel{m}, nil
}

func (m textModel) Encode(s string, addSpecial bool) ([]int32, error) {
	return m.Tokenizer.Encode(s, addSpecial)
}

func (m textModel) EncodePrompt(s string) ([]int32, error) { return m.Tokenizer.EncodePrompt(s) }

func (m textModel) Decode(ids []int32, skipSpecial bool) (string, error) {
	return m.Tokenizer.Decode(ids, skipSpecial)
}

func (m textModel) TokenString(id int32) (string, bool) { return m.Tokenizer.TokenString(id) }
func (m textModel) VocabSize() int                      { return m.Tokenizer.VocabSize() }
func (m textModel) EOSIDs() []int32                     { return m.Model.EOSIDs }
func (m textModel) HasChatTemplate() bool               { return m.Template != nil }

func (m textModel) RenderChat(c rpc.Chat) (string, error) {
	return m.Model.RenderChat(text.RenderOptions{
		Messages: c.Messages, Tools: c.Tools, Kwargs: c.Kwargs, AddGenerationPrompt: c.AddGenerationPrompt,
	})
}

// NewDetokenizer keeps special tokens, as mlx-lm's does: parsers of reasoning and of tool
// calls look for them.
func (m textModel) NewDetokenizer() rpc.Detokenizer { return m.Tokenizer.NewDetokenizer(false) }
