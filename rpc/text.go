package rpc

import (
	"context"
)

type tokenizeResult struct {
	Tokens       []int32   `msgpack:"tokens"`
	TokenStrings *[]string `msgpack:"token_strings,omitempty"`
	Count        int       `msgpack:"count"`
}

func (s *server) tokenize(_ context.Context, a args) (any, error) {
	m, err := s.models.use(a.text("model_id"))
	if err != nil {
		return nil, err
	}
	defer m.release()
	tokens, err := m.text.Encode(a.text("text"), a.bool("add_special_tokens"))
	if err != nil {
		return nil, err
	}
	r := tokenizeResult{Tokens: append([]int32{}, tokens...), Count: len(tokens)}
	if a.bool("strings") {
		entries := make([]string, len(tokens))
		for i, id := range tokens {
			entries[i], _ = m.text.TokenString(id) // an id that Encode returned has one
		}
		r.TokenStrings = &entries
	}
	return r, nil
}

func (s *server) batchTokenize(ctx context.Context, a args) (any, error) {
	result := new(batchResult)
	for request := range a.value("requests").Items() {
		var tokenized any
		item, err := decodeArgs(tokenizeParams, request)
		if err == nil {
			tokenized, err = s.tokenize(ctx, item)
		}
		result.Results = append(result.Results, s.batchItem(tokenized, err))
	}
	return result, nil
}

func (s *server) detokenize(_ context.Context, a args) (any, error) {
	m, err := s.models.use(a.text("model_id"))
	if err != nil {
		return nil, err
	}
	defer m.release()
	if err := checkTokens("tokens", a.tokens("tokens"), m.text.VocabSize()); err != nil {
		return nil, err
	}
	text, err := m.text.Decode(a.tokens("tokens"), a.bool("skip_special_tokens"))
	if err != nil {
		return nil, err
	}
	return struct {
		Text string `msgpack:"text"`
	}{text}, nil
}

func (s *server) applyChatTemplate(_ context.Context, a args) (any, error) {
	m, err := s.models.use(a.text("model_id"))
	if err != nil {
		return nil, err
	}
	defer m.release()
	text, err := renderChat(m, a, a.bool("add_generation_prompt"))
	if err != nil {
		return nil, err
	}
	if !a.bool("tokenize") {
		return struct {
			Text string `msgpack:"text"`
		}{text}, nil
	}
	tokens, err := m.text.Encode(text, false) // the template has put in what is special
	if err != nil {
		return nil, err
	}
	return struct {
		Tokens []int32 `msgpack:"tokens"`
	}{append([]int32{}, tokens...)}, nil
}
