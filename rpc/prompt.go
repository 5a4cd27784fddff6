package rpc

import (
	"encoding/json"

	"mlx-worker/rpc/wire"
)

// promptTokens returns the prompt of a generate request: at least one token.
func promptTokens(m *model, a args) ([]int32, error) {
	const accepted = "exactly one of prompt, prompt_tokens and messages"
	given := 0
	for _, name := range []string{"prompt", "prompt_tokens", "messages"} {
		if a.has(name) {
			given++
		}
	}
	if given != 1 {
		return nil, invalidParam("prompt", accepted, "%d of them are given", given)
	}
	if !a.has("messages") {
		for _, name := range []string{"tools", "chat_template_kwargs"} {
			if a.has(name) {
				return nil, invalidParam(name, "only together with messages", "there are no messages")
			}
		}
	}
	var tokens []int32
	var err error
	switch {
	case a.has("prompt_tokens"):
		tokens = a.tokens("prompt_tokens")
		err = checkTokens("prompt_tokens", tokens, m.info.VocabSize)
	case a.has("prompt"):
		tokens, err = m.text.EncodePrompt(a.text("prompt"))
	default:
		var text string
		if text, err = renderChat(m, a, true); err == nil {
			tokens, err = m.text.Encode(text, false) // the template has put in what is special
		}
	}
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, invalidParam("prompt", "a prompt of at least one token", "the prompt is empty")
	}
	return tokens, nil
}

// checkTokens refuses ids that the model does not have.
func checkTokens(param string, ids []int32, vocabSize int) error {
	for i, id := range ids {
		if int(id) >= vocabSize {
			return invalidParam(param, intRange(0, int64(vocabSize-1)), "id %d, item %d, is not in the vocabulary", id, i)
		}
	}
	return nil
}

// renderChat renders the conversation of a request by the model's chat template.
func renderChat(m *model, a args, addGenerationPrompt bool) (string, error) {
	if !m.text.HasChatTemplate() {
		return "", unsupported("chat_template", "the model has no chat template; use prompt or prompt_tokens")
	}
	if err := checkMessages(a.value("messages")); err != nil {
		return "", err
	}
	c := Chat{AddGenerationPrompt: addGenerationPrompt}
	for _, part := range []struct {
		name string
		to   *json.RawMessage
	}{{"messages", &c.Messages}, {"tools", &c.Tools}, {"chat_template_kwargs", &c.Kwargs}} {
		if !a.has(part.name) {
			continue
		}
		encoded, err := appendJSON(nil, a.value(part.name))
		if err != nil {
			return "", invalidParam(part.name, "what JSON can express", "%v", err)
		}
		*part.to = encoded
	}
	return m.text.RenderChat(c)
}

const acceptedMessage = "objects with role, a string, and content, a string, null or an array of parts"

// checkMessages refuses messages whose shape no chat template knows. Members beside role and
// content are the template's affair.
func checkMessages(messages wire.Value) error {
	i := 0
	for message := range messages.Items() {
		role := false
		for name, value := range message.Entries() {
			switch name {
			case "role":
				_, role = value.Text()
			case "content":
				if err := checkContent(i, value); err != nil {
					return err
				}
			}
		}
		if !role {
			return invalidParam("messages", acceptedMessage, "message %d has no role", i)
		}
		i++
	}
	return nil
}

func checkContent(message int, content wire.Value) error {
	switch content.Class() {
	case wire.Nil, wire.String:
		return nil
	case wire.Array:
	default:
		return invalidParam("messages", acceptedMessage, "the content of message %d is %v", message, content.Class())
	}
	for part := range content.Items() {
		kind := ""
		for name, value := range part.Entries() {
			if name == "type" {
				kind, _ = value.Text()
			}
		}
		switch kind {
		case "text":
		case "":
			return invalidParam("messages", acceptedMessage, "a part of message %d has no type", message)
		default:
			return unsupported("messages content "+wire.Quote(kind), "this build takes text parts only")
		}
	}
	return nil
}
