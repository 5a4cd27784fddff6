package rpc

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"mlx-worker/batcher"
)

type chunkRow struct {
	StreamID string  `msgpack:"stream_id"`
	Index    int     `msgpack:"index"`
	Text     string  `msgpack:"text"`
	TokenIDs []int32 `msgpack:"token_ids"`
	LogProbs []any   `msgpack:"logprobs"`
}

// What a slow client left waiting is split into frames within the limit, in order and whole.
func TestLargePortionsAreSplit(t *testing.T) {
	const limit = 64 << 10
	text := strings.Repeat("grüße 🌍 ", 10_000)
	var tokens []batcher.Token
	var ids []int32
	for i := range 4_000 {
		token := batcher.Token{ID: int32(i)}
		for top := range 20 {
			token.TopLogProbs = append(token.TopLogProbs, batcher.TokenLogProb{Token: int32('a' + top)})
		}
		tokens = append(tokens, token)
		ids = append(ids, token.ID)
	}
	for name, c := range map[string]struct {
		portion  portion
		logProbs bool
	}{
		"text":                      {portion{text: []byte(text)}, false},
		"tokens":                    {portion{tokens: tokens}, false},
		"tokens with alternatives":  {portion{tokens: tokens}, true},
		"text and tokens":           {portion{text: []byte(text), tokens: tokens}, true},
		"neither: no row is needed": {portion{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			frame := newChunkFrame(limit)
			s := &stream{id: strings.Repeat("s", maxStreamID), logProbs: c.logProbs, model: &model{text: &fakeText{}}}
			var gotText strings.Builder
			var gotIDs []int32
			logProbs, index := 0, 0
			send := func() {
				params := frame.params()
				if len(params) > limit*3/4 {
					t.Fatalf("a frame has %d bytes, the limit is %d", len(params), limit)
				}
				var chunks struct {
					Chunks []chunkRow `msgpack:"chunks"`
				}
				if err := msgpack.NewDecoder(bytes.NewReader(params)).Decode(&chunks); err != nil {
					t.Fatal(err)
				}
				for _, row := range chunks.Chunks {
					if row.StreamID != s.id || row.Index != index || strings.ToValidUTF8(row.Text, "?") != row.Text {
						t.Fatalf("row %d is %v", index, row)
					}
					index++
					gotText.WriteString(row.Text)
					gotIDs = append(gotIDs, row.TokenIDs...)
					logProbs += len(row.LogProbs)
				}
			}
			p := c.portion
			for len(p.text) > 0 || len(p.tokens) > 0 {
				if frame.add(s, &p) {
					send()
				}
			}
			if frame.rows > 0 {
				send()
			}
			if gotText.String() != string(c.portion.text) {
				t.Error("the text was changed")
			}
			if len(c.portion.tokens) > 0 && !slices.Equal(gotIDs, ids) {
				t.Error("the tokens were changed")
			}
			if want := len(c.portion.tokens); c.logProbs && logProbs != want {
				t.Errorf("%d logprobs for %d tokens", logProbs, want)
			}
		})
	}
}

func BenchmarkChunkFrame(b *testing.B) {
	frame := newChunkFrame(64 << 20)
	var streams []*stream
	for i := range 32 {
		streams = append(streams, &stream{id: strings.Repeat(string(rune('a'+i)), 26)})
	}
	text, tokens := []byte(" hello"), []batcher.Token{{ID: 15496}}
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range streams {
			p := portion{text: text, tokens: tokens}
			frame.add(s, &p)
		}
		frame.params()
	}
}
