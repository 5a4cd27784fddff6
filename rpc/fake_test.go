package rpc

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"mlx-worker/batcher"
	"mlx-worker/internal/fault"
)

// The fake model speaks bytes: token 'a' is the text "a". Token 0 ends a text, token 1 starts
// one, and 300 is the vocabulary's size, so that some ids are no bytes.
const (
	fakeEOS     = 0
	fakeBOS     = 1
	fakeVocab   = 300
	fakeContext = 64
)

// fakeEngine completes every prompt with the bytes of completion, and then fakeEOS for ever.
type fakeEngine struct {
	completion string
	gated      bool // steps wait for gate
	slow       bool // loads wait for loading, or the end of their context

	// Made by start, as a channel of another bubble would stop time.
	gate    chan struct{} // lets one step through for each value, all when it is closed
	loading chan struct{}

	loadPanic bool
	deaf      bool // loads and steps do not hear the end of their context
	progress  []batcher.LoadProgress
	stepErr   error

	loads atomic.Int32

	mu        sync.Mutex
	sequences []*fakeSequence
}

type fakeSequence struct {
	engine *fakeEngine
	prompt []int32
	opts   batcher.SequenceOptions
	made   int // tokens
	closed atomic.Bool
}

func (s *fakeSequence) Close() { s.closed.Store(true) }

// enter makes the channels in the bubble of the test.
func (e *fakeEngine) enter() {
	if e.gated {
		e.gate = make(chan struct{})
	}
	if e.slow {
		e.loading = make(chan struct{})
	}
}

func (e *fakeEngine) wait(ctx context.Context, c chan struct{}) error {
	if c == nil {
		return ctx.Err()
	}
	done := ctx.Done()
	if e.deaf {
		done = nil
	}
	select {
	case <-c:
		return nil
	case <-done:
		return ctx.Err()
	}
}

func (e *fakeEngine) Load(ctx context.Context, req batcher.LoadRequest, progress func(batcher.LoadProgress)) (batcher.ModelInfo, error) {
	e.loads.Add(1)
	for _, p := range e.progress {
		progress(p)
	}
	if e.loadPanic {
		panic("load panics")
	}
	if err := e.wait(ctx, e.loading); err != nil {
		return batcher.ModelInfo{}, err
	}
	if strings.Contains(req.Path, "corrupt") {
		return batcher.ModelInfo{}, fault.New(fault.ModelLoad, "the weights are corrupt")
	}
	if strings.Contains(req.Path, "odd") {
		return batcher.ModelInfo{}, fmt.Errorf("open %s: permission denied", req.Path)
	}
	return batcher.ModelInfo{
		ModelID: req.ModelID, Architecture: "llama", ContextLength: fakeContext, ParameterCount: 135, SizeBytes: 1000,
		DType: cmp.Or(req.DType, "float32"), VocabSize: fakeVocab, LoadMs: 12.5,
		Quantization: new(cmp.Or(req.Quantization, batcher.Quantization{Mode: "affine", Bits: 4, GroupSize: 32})),
	}, nil
}

func (e *fakeEngine) Unload(context.Context, string) (int64, error) { return 1000, nil }

func (e *fakeEngine) NewSequence(_ context.Context, _ string, prompt []int32, opts batcher.SequenceOptions) (batcher.Sequence, error) {
	s := &fakeSequence{engine: e, prompt: prompt, opts: opts}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sequences = append(e.sequences, s)
	return s, nil
}

// last returns the newest sequence.
func (e *fakeEngine) last() *fakeSequence {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sequences[len(e.sequences)-1]
}

func (e *fakeEngine) Dispatch(_ context.Context, rows []batcher.Row) (batcher.Step, error) {
	return &fakeStep{e, rows}, nil
}

func (e *fakeEngine) StepsAhead() int                 { return 0 }
func (e *fakeEngine) SequenceBytes(string, int) int64 { return 0 }

type fakeStep struct {
	engine *fakeEngine
	rows   []batcher.Row
}

func (st *fakeStep) Wait(ctx context.Context) ([]batcher.StepResult, error) {
	e, rows := st.engine, st.rows
	if err := e.wait(ctx, e.gate); err != nil {
		return nil, err
	}
	if e.stepErr != nil {
		return nil, e.stepErr
	}
	results := make([]batcher.StepResult, len(rows))
	for i, row := range rows {
		if row.PromptTokens > 0 {
			continue
		}
		s := row.Sequence.(*fakeSequence)
		r := &results[i]
		if s.made < len(e.completion) {
			r.Token = int32(e.completion[s.made])
		} else {
			r.Token = fakeEOS
		}
		if s.opts.LogProbs {
			r.LogProb = -float32(s.made)
		}
		for top := range s.opts.TopLogProbs {
			r.TopLogProbs = append(r.TopLogProbs, batcher.TokenLogProb{Token: int32('A' + top), LogProb: -float32(top)})
		}
		s.made++
	}
	return results, nil
}

func (e *fakeEngine) Memory() batcher.Memory {
	return batcher.Memory{ActiveBytes: 1, CacheBytes: 2, PeakBytes: 3}
}

func (e *fakeEngine) Close() error { return nil }

// fakeText is the fake model's text side.
type fakeText struct {
	noTemplate bool
	panics     bool
	closed     *atomic.Int32
}

func (t *fakeText) Encode(text string, addSpecial bool) ([]int32, error) {
	if t.panics {
		panic("encode panics at /secret/path")
	}
	if strings.Contains(text, "unencodable") {
		return nil, fault.New(fault.Tokenizer, "cannot encode")
	}
	var ids []int32
	if addSpecial {
		ids = append(ids, fakeBOS)
	}
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids, nil
}

func (t *fakeText) EncodePrompt(text string) ([]int32, error) { return t.Encode(text, false) }

func (t *fakeText) Decode(ids []int32, skipSpecial bool) (string, error) {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id > math.MaxUint8 || id == fakeBOS || id == fakeEOS:
			if !skipSpecial {
				fmt.Fprintf(&b, "<%d>", id)
			}
		default:
			b.WriteByte(byte(id))
		}
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD"), nil
}

func (t *fakeText) TokenString(id int32) (string, bool) { return fmt.Sprintf("tok%d", id), true }
func (t *fakeText) VocabSize() int                      { return fakeVocab }
func (t *fakeText) EOSIDs() []int32                     { return []int32{fakeEOS} }
func (t *fakeText) HasChatTemplate() bool               { return !t.noTemplate }
func (t *fakeText) NewDetokenizer() Detokenizer         { return &fakeDetokenizer{} }
func (t *fakeText) Close()                              { t.closed.Add(1) }

func (t *fakeText) RenderChat(c Chat) (string, error) {
	return fmt.Sprintf("%s|%s|%s|%v", c.Messages, c.Tools, c.Kwargs, c.AddGenerationPrompt), nil
}

// fakeDetokenizer holds incomplete UTF-8 and trailing spaces back.
type fakeDetokenizer struct {
	held []byte
	err  error // set by '!'
}

func (d *fakeDetokenizer) Err() error { return d.err }

func (d *fakeDetokenizer) Push(id int32) string {
	if id == '!' {
		d.err = fault.New(fault.Tokenizer, "cannot decode")
	}
	if d.err != nil {
		return ""
	}
	d.held = append(d.held, byte(id))
	if !utf8.Valid(d.held) && len(d.held) < utf8.UTFMax || id == ' ' {
		return ""
	}
	return d.Flush()
}

func (d *fakeDetokenizer) Flush() string {
	text := strings.ToValidUTF8(string(d.held), "\uFFFD")
	d.held = nil
	return text
}

// fakeMatcher holds back what may be the start of a stop sequence.
type fakeMatcher struct {
	stops []string
	held  string
}

func (m *fakeMatcher) Push(text string) (emit, matched string, done bool) {
	m.held += text
	for at := range len(m.held) {
		for _, stop := range m.stops {
			if strings.HasPrefix(m.held[at:], stop) {
				return m.held[:at], stop, true
			}
		}
	}
	keep := 0
	for _, stop := range m.stops {
		for n := 1; n < len(stop); n++ {
			if strings.HasSuffix(m.held, stop[:n]) {
				keep = max(keep, n)
			}
		}
	}
	emit = m.held[:len(m.held)-keep]
	m.held = m.held[len(m.held)-keep:]
	return emit, "", false
}

func (m *fakeMatcher) Flush() string {
	rest := m.held
	m.held = ""
	return rest
}
