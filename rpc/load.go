package rpc

import (
	"cmp"
	"context"
	"sync"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/rpc/wire"
)

type quantization struct {
	Mode      string `msgpack:"mode"`
	Bits      int    `msgpack:"bits"`
	GroupSize int    `msgpack:"group_size"`
}

type loadResult struct {
	ModelID        string        `msgpack:"model_id"`
	State          string        `msgpack:"state"`
	Architecture   string        `msgpack:"architecture"`
	ContextLength  int           `msgpack:"context_length"`
	ParameterCount int64         `msgpack:"parameter_count"`
	SizeBytes      int64         `msgpack:"size_bytes"`
	DType          string        `msgpack:"dtype"`
	Quantization   *quantization `msgpack:"quantization"`
	VocabSize      int           `msgpack:"vocab_size"`
	ChatTemplate   bool          `msgpack:"chat_template"`
	EOSTokenIDs    []int32       `msgpack:"eos_token_ids"`
	LoadMs         float64       `msgpack:"load_ms"`
	Cached         bool          `msgpack:"cached"`
}

func (s *server) loadModel(ctx context.Context, a args) (any, error) {
	if err := s.refuseWork(); err != nil {
		return nil, err
	}
	id := a.text("model_id")
	path, err := s.opts.ResolveModel(id, a.text("local_path"), a.text("revision"))
	if err != nil {
		return nil, err
	}
	req := batcher.LoadRequest{
		ModelID: id, Path: path, ContextLength: a.int("context_length"), DType: a.text("dtype"),
		Quantization: arg[batcher.Quantization](a, "quantization"),
	}
	shared, err := s.models.load(ctx, req, func(m *model) error { return s.openModel(ctx, m) })
	if err != nil {
		return nil, err
	}
	m, err := s.models.use(id) // an error if it has been unloaded since
	if err != nil {
		return nil, err
	}
	defer m.release()
	return newLoadResult(m, shared), nil
}

func newLoadResult(m *model, cached bool) loadResult {
	r := loadResult{
		ModelID:        m.request.ModelID,
		State:          string(batcher.ModelReady),
		Architecture:   m.info.Architecture,
		ContextLength:  m.info.ContextLength,
		ParameterCount: m.info.ParameterCount,
		SizeBytes:      m.info.SizeBytes,
		DType:          m.info.DType,
		VocabSize:      m.info.VocabSize,
		ChatTemplate:   m.text.HasChatTemplate(),
		EOSTokenIDs:    append([]int32{}, m.text.EOSIDs()...),
		LoadMs:         m.info.LoadMs,
		Cached:         cached,
	}
	if q := m.info.Quantization; q != nil {
		r.Quantization = &quantization{q.Mode, q.Bits, q.GroupSize}
	}
	return r
}

// openModel reads weights and text side at the same time. It takes both or none.
func (s *server) openModel(ctx context.Context, m *model) error {
	var text TextModel
	var textErr error
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		textErr = s.protect("opening a text side", func() (err error) {
			text, err = s.opts.OpenText(m.request.Path)
			return err
		})
	}()
	loadErr := s.protect("loading a model", func() error {
		progress := progress{modelID: m.request.ModelID, conn: s.conn}
		result, err := s.opts.Batcher.Load(ctx, m.request, progress.report)
		m.info = result.ModelInfo
		return err
	})
	<-opened
	switch {
	case loadErr == nil && textErr == nil:
		m.text = text
		return nil
	case loadErr == nil:
		if _, err := s.opts.Batcher.Unload(ctx, m.request.ModelID, true); err != nil {
			s.log.Error("could not unload a model whose text side failed", "error", err)
		}
	case textErr == nil:
		text.Close()
		return loadErr
	}
	return cmp.Or(loadErr, textErr)
}

func (s *server) unloadModel(ctx context.Context, a args) (any, error) {
	id := a.text("model_id")
	var freed int64
	err := s.models.unload(id, func() (err error) {
		freed, err = s.opts.Batcher.Unload(ctx, id, a.bool("force"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Success    bool  `msgpack:"success"`
		FreedBytes int64 `msgpack:"freed_bytes"`
	}{true, freed}, nil
}

// progressInterval is the least time between two notifications of one phase of a load.
const progressInterval = 100 * time.Millisecond

// progress tells the client how a load comes on: the start and the end of each phase, and
// between them what is due. It never waits; what a slow client has no room for is left out.
type progress struct {
	modelID string
	conn    *wire.Conn

	mu    sync.Mutex
	phase string
	next  time.Time // nothing is due before
	last  batcher.LoadProgress
}

func (p *progress) report(l batcher.LoadProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	ended := l.TotalBytes > 0 && l.LoadedBytes >= l.TotalBytes
	if l == p.last || l.Phase == p.phase && !ended && now.Before(p.next) {
		return
	}
	p.phase, p.next, p.last = l.Phase, now.Add(progressInterval), l
	params, err := wire.Marshal(struct {
		ModelID     string `msgpack:"model_id"`
		Phase       string `msgpack:"phase"`
		LoadedBytes int64  `msgpack:"loaded_bytes"`
		TotalBytes  int64  `msgpack:"total_bytes"`
	}{p.modelID, l.Phase, l.LoadedBytes, l.TotalBytes})
	if err == nil {
		_, _ = p.conn.TryNotify("model.progress", params) // a failed connection ends Serve
	}
}
