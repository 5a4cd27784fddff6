package gpu

import (
	"context"
	"errors"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/gpu/cache"
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/models"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// model is a loaded model and the sequences that decode on it.
type model struct {
	models.Model
	weights       *nn.Weights
	info          batcher.ModelInfo
	caches        cache.Spec
	sequenceBytes func(tokens int) int64

	// Of the MLX thread.
	batch  *cache.Batch
	rows   map[*cache.Row]*sequence // of batch
	flight *step                    // dispatched last and not waited for, or nil
}

func newModel(built models.Model, weights *nn.Weights) *model {
	return &model{Model: built, weights: weights, rows: map[*cache.Row]*sequence{}}
}

// SequenceBytes implements batcher.Engine.
func (e *Engine) SequenceBytes(modelID string, tokens int) int64 {
	m, err := e.model(modelID)
	if err != nil {
		return 0
	}
	return m.sequenceBytes(tokens)
}

// defaultContextLength holds for models that do not say how long their context is.
const defaultContextLength = 4096

// Load implements batcher.Engine. Reading and unpacking happen on the caller's goroutine, each
// array's conversion as jobs of its own, so that steps of other models come in between.
func (e *Engine) Load(ctx context.Context, req batcher.LoadRequest, progress func(batcher.LoadProgress)) (batcher.ModelInfo, error) {
	start := time.Now()
	checkpoint, err := load.Open(req.Path, models.Supported)
	if err != nil {
		return batcher.ModelInfo{}, err
	}
	defer mlx.Trim() // of what was used to read it
	defer checkpoint.Close()
	config := checkpoint.Config()
	contextLength, err := contextLength(req.ContextLength, config.MaxLength)
	if err != nil {
		return batcher.ModelInfo{}, err
	}
	quantization, conversion, err := quantizeTo(req.Quantization, config)
	if err != nil {
		return batcher.ModelInfo{}, err
	}
	policy, err := e.policy(req.DType, checkpoint, quantization)
	if err != nil {
		return batcher.ModelInfo{}, err
	}
	policy.Conversion = conversion
	if err := e.roomToExpand(checkpoint, policy); err != nil {
		return batcher.ModelInfo{}, err
	}
	m, dtype, err := e.build(ctx, checkpoint, policy, progress)
	if err != nil {
		return batcher.ModelInfo{}, loadError(ctx, err)
	}
	m.info = batcher.ModelInfo{
		ModelID:        req.ModelID,
		Architecture:   config.ModelType,
		ContextLength:  contextLength,
		ParameterCount: m.weights.Parameters,
		SizeBytes:      m.weights.Bytes,
		DType:          dtype.String(),
		VocabSize:      m.VocabSize(),
	}
	if q := quantization; q != nil {
		m.info.Quantization = &batcher.Quantization{Mode: string(q.Mode), Bits: q.Bits, GroupSize: q.GroupSize}
	}
	m.info.LoadMs = float64(time.Since(start).Microseconds()) / 1000
	if err := e.register(req.ModelID, m); err != nil {
		return batcher.ModelInfo{}, errors.Join(err, e.drop(m))
	}
	return m.info, nil
}

// Unload implements batcher.Engine. The caller has closed the model's sequences. Steps of other
// models come in between.
func (e *Engine) Unload(ctx context.Context, modelID string) (freedBytes int64, err error) {
	m, err := e.model(modelID)
	if err != nil {
		return 0, err
	}
	if err := e.do(ctx, func() error { return e.forget(modelID) }); err != nil {
		return 0, err
	}
	defer mlx.Trim()
	cached, err := e.release(m)
	return m.weights.Bytes + cached, err
}

// forget takes a model out of those that are loaded; only one caller succeeds.
func (e *Engine) forget(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.models[id] == nil {
		return notLoaded(id)
	}
	delete(e.models, id)
	return nil
}

// release frees a model that nothing refers to, in jobs that keep no step waiting for long, and
// returns the bytes that its caches took. It cannot be cancelled half-way.
func (e *Engine) release(m *model) (cachedBytes int64, err error) {
	job := func(free func() error) error {
		return e.do(context.Background(), func() error { return errors.Join(free(), e.runtime.ClearCache()) })
	}
	err = job(func() error {
		before, err := e.runtime.Memory()
		m.freeCaches()
		after, afterErr := e.runtime.Memory()
		cachedBytes = before.Active - after.Active
		return errors.Join(err, afterErr)
	})
	err = errors.Join(err, m.weights.Free(job))
	// The figures are those of the last job.
	return cachedBytes, errors.Join(err, job(func() error { return nil }))
}

// free drops what the model holds, on the MLX thread and at once.
func (m *model) free() error {
	m.freeCaches()
	return m.weights.Free(func(job func() error) error { return job() })
}

func (m *model) freeCaches() {
	if m.batch != nil {
		m.batch.Free()
	}
}

// drop is release of a model that could not be loaded.
func (e *Engine) drop(m *model) error {
	_, err := e.release(m)
	return err
}

func (e *Engine) register(id string, m *model) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fault.New(fault.ShuttingDown, "the engine is closed")
	}
	if e.models[id] != nil {
		return fault.New(fault.ModelLoad, "model %q is already loaded", id)
	}
	e.models[id] = m
	return nil
}

// build reads the checkpoint into a model and runs its first token, so that the dtype of its
// activations is known and a GPU has compiled its kernels.
func (e *Engine) build(ctx context.Context, checkpoint load.Checkpoint, policy nn.Policy, progress func(batcher.LoadProgress)) (*model, mlx.DType, error) {
	report := func(phase string, done, total int64) {
		if progress != nil {
			progress(batcher.LoadProgress{Phase: phase, LoadedBytes: done, TotalBytes: total})
		}
	}
	report("read", 0, checkpoint.TotalBytes())
	b := nn.NewBuilder(checkpoint, policy, e.runtime.Stream,
		func(job func() error) error { return e.do(ctx, job) },
		// On-disk and device bytes differ in size, not in proportion enough to matter to a person.
		func(done, total int64) {
			report("read", scale(done, total, checkpoint.TotalBytes()), checkpoint.TotalBytes())
		})
	built, err := models.New(b)
	if err != nil {
		b.Fail(err)
	}
	weights, err := b.Finish()
	m := newModel(built, weights)
	if err != nil {
		return nil, 0, errors.Join(err, e.drop(m))
	}
	report("warmup", checkpoint.TotalBytes(), checkpoint.TotalBytes())
	dtype, err := e.warmUp(ctx, m)
	if err != nil {
		return nil, 0, errors.Join(err, e.drop(m))
	}
	return m, dtype, nil
}

// scale maps part of whole to the same part of another whole.
func scale(part, whole, other int64) int64 {
	if whole == 0 {
		return other
	}
	return int64(float64(part) / float64(whole) * float64(other))
}

// warmUp generates one token, measures what the caches take, and returns the dtype of the logits.
// On the CPU there is nothing to compile, so the graph is only built there, which finds shapes
// that do not fit.
func (e *Engine) warmUp(ctx context.Context, m *model) (dtype mlx.DType, err error) {
	err = e.do(ctx, func() error {
		m.caches = cache.Spec{Layers: m.Caches(), LeastCapacity: e.leastCapacity()}
		m.batch = cache.NewBatch(m.caches)
		probe := cache.NewSequence(m.caches)
		defer probe.Free()
		var logits mlx.Ref
		defer logits.Free()
		err := mlx.Build(e.runtime.Stream, func(s *mlx.Scope) error {
			pass := cache.NewPass(s, m.caches, nil, cache.Chunk{Sequence: probe, N: 1})
			hidden := m.Hidden(&nn.Context{Scope: s, Pass: pass}, s.Int32s([]int32{0}, 1, 1))
			logits.Set(s, m.Logits(s, hidden))
			pass.Commit()
			return nil
		})
		if err != nil {
			return err
		}
		dtype = logits.Array().DType()
		m.sequenceBytes = probe.Bytes()
		if e.info.Backend == mlx.CPU {
			return nil
		}
		return mlx.Eval(logits.Array())
	})
	return dtype, err
}

// leastCapacity is mlx-lm's step on a GPU, where a group more costs launches in every layer. On
// the CPU groups are cheap beside padding and fresh memory.
func (e *Engine) leastCapacity() int {
	if e.info.Backend == mlx.CPU {
		return 64
	}
	return 256
}

func contextLength(asked, trained int) (int, error) {
	switch {
	case trained == 0 && asked == 0:
		return defaultContextLength, nil
	case asked == 0:
		return trained, nil
	case trained > 0 && asked > trained:
		return 0, fault.New(fault.InvalidParams, "context_length %d is longer than the model's %d", asked, trained).
			With("param", "context_length").With("accepted", trained)
	default:
		return asked, nil
	}
}

var dtypesByName = map[string]mlx.DType{"float32": mlx.Float32, "float16": mlx.Float16, "bfloat16": mlx.BFloat16}

// policy decides how weights are kept. On the CPU half precision is slower than float32 by an
// order of magnitude, so float32 is the default there.
func (e *Engine) policy(dtype string, checkpoint load.Checkpoint, q *load.QuantSpec) (nn.Policy, error) {
	p := nn.Policy{Backend: e.info.Backend, DType: checkpoint.Config().DType, Kernels: e.runtime.Stream.Kernels()}
	if p.Backend == mlx.CPU {
		float32Type := mlx.Float32
		p.DType = &float32Type
	}
	if dtype != "" {
		d, known := dtypesByName[dtype]
		if !known {
			return p, fault.New(fault.InvalidParams, "dtype %q is not one of float32, float16, bfloat16", dtype).With("param", "dtype")
		}
		p.DType = &d
	}
	p.DenseWeights = p.Backend == mlx.CPU && *p.DType == mlx.Float32 && e.denseWeightsFit(checkpoint, q)
	return p, nil
}

// denseWeightsFit reports whether dense float32 copies of the quantised matrices are wanted: in
// mode "auto" if there is no product for their format but MLX's scalar one, and they take at most
// half of the memory that is free.
func (e *Engine) denseWeightsFit(checkpoint load.Checkpoint, q *load.QuantSpec) bool {
	switch {
	case q == nil || e.config.DenseWeights == "off":
		return false
	case e.config.DenseWeights == "on":
		return true
	case e.runtime.Stream.Kernels() && mlx.KernelsTake(q.Mode, q.GroupSize):
		return false
	}
	denseBytes := 4 * elements(checkpoint, q)
	return denseBytes <= float64(availableMemoryBytes())/2
}

// elements estimates how many numbers a checkpoint holds that is quantised, or is going to be.
func elements(checkpoint load.Checkpoint, q *load.QuantSpec) (count float64) {
	if checkpoint.Config().Quantization() != nil {
		const scaleAndBiasBits = 2 * 16
		return 8 * float64(checkpoint.TotalBytes()) / (float64(q.Bits) + scaleAndBiasBits/float64(q.GroupSize))
	}
	for _, a := range checkpoint.Arrays(false) {
		count += float64(a.Size() / a.DType.Size())
	}
	return count
}

// roomToExpand refuses a checkpoint whose matrices without a format in MLX would not fit densely.
func (e *Engine) roomToExpand(checkpoint load.Checkpoint, policy nn.Policy) error {
	expander, ok := checkpoint.(load.Expander)
	if !ok {
		return nil
	}
	elements, first := expander.Expanded()
	free := e.memoryLimit - e.memory.active.Load()
	if unused := availableMemoryBytes(); policy.Backend == mlx.CPU && unused > 0 {
		free = min(free, unused)
	}
	if need := elements * int64(policy.DType.Size()); need > free {
		return fault.New(fault.InsufficientMemory, "%s and others like it become dense, which takes %d bytes; %d are free", first, need, free).
			With("required_bytes", need).With("available_bytes", free)
	}
	return nil
}

// loadError makes every failure of a load one of its kind, and names a cancelled load.
func loadError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Cancelled, "loading was cancelled")
	}
	if k := fault.KindOf(err); k == fault.Generation || k == fault.Runtime {
		return fault.New(fault.ModelLoad, "%w", err)
	}
	return err
}
