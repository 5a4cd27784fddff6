package nn

import (
	"fmt"
	"slices"
	"strings"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// Builder hands a checkpoint's arrays to the layers of a model and keeps the first error.
// Arrays are converted and evaluated one by one, each as a job of its own on the MLX thread:
// memory holds one array twice, and streams of other models get their steps in between.
// Add the checkpoint's arrays, build the model, then Finish or Discard.
type Builder struct {
	Config *load.Config

	policy  Policy
	stream  mlx.Stream
	run     func(job func() error) error // runs a job on the MLX thread
	raw     map[string]rawArray          // arrays not yet taken
	owned   []*mlx.Ref                   // arrays of the layers
	missing []string
	err     error

	parameters, bytes int64
}

// rawArray is a checkpoint's array on the device.
type rawArray struct {
	*mlx.Ref
	dtype mlx.DType
	shape []int
}

// NewBuilder returns an empty builder. run is how it reaches the MLX thread.
func NewBuilder(config *load.Config, policy Policy, stream mlx.Stream, run func(job func() error) error) *Builder {
	return &Builder{Config: config, policy: policy, stream: stream, run: run, raw: map[string]rawArray{}}
}

// Add copies an array of the checkpoint to the device.
func (b *Builder) Add(a load.HostArray) error {
	return b.run(func() error {
		return mlx.Build(b.stream, func(s *mlx.Scope) error {
			kept, err := s.Keep(s.FromBytes(a.Data, a.DType, a.Shape...))
			if err != nil {
				return fault.New(fault.ModelLoad, "tensor %q: %w", a.Name, err)
			}
			b.raw[a.Name] = rawArray{Ref: kept, dtype: a.DType, shape: slices.Clone(a.Shape)}
			return nil
		})
	})
}

// Err returns what is wrong with the checkpoint: the first failure, else the missing tensors.
func (b *Builder) Err() error {
	if b.err == nil && len(b.missing) > 0 {
		return fault.New(fault.ModelLoad, "%d tensors are missing: %s", len(b.missing), list(b.missing)).With("missing", head(b.missing))
	}
	return b.err
}

// Finish checks that every array of the checkpoint was used, and returns the layers' arrays,
// which the caller frees.
func (b *Builder) Finish() (*Weights, error) {
	var extra []string
	for name := range b.raw {
		extra = append(extra, name)
	}
	slices.Sort(extra)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if len(extra) > 0 {
		return nil, fault.New(fault.ModelLoad, "%d tensors do not belong to a %s model: %s", len(extra), b.Config.ModelType, list(extra)).With("extra", head(extra))
	}
	w := &Weights{arrays: b.owned, Parameters: b.parameters, Bytes: b.bytes}
	b.owned = nil
	return w, nil
}

// Discard frees everything that the builder still owns. It runs on the MLX thread.
func (b *Builder) Discard() {
	for _, a := range b.raw {
		a.Free()
	}
	for _, a := range b.owned {
		a.Free()
	}
	b.raw, b.owned = nil, nil
}

// Ignore drops arrays that a family does not use.
func (b *Builder) Ignore(unused func(name string) bool) {
	for name, a := range b.raw {
		if unused(name) {
			b.free(a.Ref)
			delete(b.raw, name)
		}
	}
}

func (b *Builder) free(arrays ...*mlx.Ref) {
	err := b.run(func() error {
		for _, a := range arrays {
			a.Free()
		}
		return nil
	})
	if err != nil {
		b.Fail(err)
	}
}

// Weights are a model's arrays.
type Weights struct {
	arrays     []*mlx.Ref
	Parameters int64 // before quantisation
	Bytes      int64 // memory that the arrays hold
}

// Free releases the arrays.
func (w *Weights) Free() {
	for _, a := range w.arrays {
		a.Free()
	}
	w.arrays = nil
}

// Linear builds the projection at path, whose matrix is [out, in]. A bias is used if the
// checkpoint has one.
func (b *Builder) Linear(path string, in, out int) Linear {
	p := b.projection(path, in, out)
	if b.err != nil || p.dense == nil {
		return nil
	}
	return b.linear(p)
}

// Parallel builds projections of one input whose outputs come one after the other on the last
// axis, [..., sum of outs]. They are one product where their formats agree, which is the rule;
// each matrix and bias keeps its numbers, so that the result does not change.
func (b *Builder) Parallel(paths []string, in int, outs ...int) Linear {
	parts := make([]projection, len(paths))
	for i, path := range paths {
		parts[i] = b.projection(path, in, outs[i])
	}
	if b.err != nil || len(b.missing) > 0 {
		return nil
	}
	for _, p := range parts[1:] {
		if !p.sameFormat(parts[0]) {
			return b.sideBySide(parts)
		}
	}
	return b.linear(b.fused(parts))
}

// projection is what a checkpoint holds of one linear layer.
type projection struct {
	dense     *mlx.Ref         // [out, in]; the packed weight if quantised
	quantised *quantizedMatrix // nil: dense
	bias      *mlx.Ref         // [out] or nil
}

func (b *Builder) projection(path string, in, out int) (p projection) {
	p.dense, p.quantised = b.matrix(path, in, out)
	p.bias = b.optional(path+".bias", out)
	return p
}

func (p projection) sameFormat(q projection) bool {
	if (p.quantised == nil) != (q.quantised == nil) || (p.bias == nil) != (q.bias == nil) {
		return false
	}
	return p.quantised == nil || p.quantised.format == q.quantised.format
}

func (b *Builder) sideBySide(parts []projection) Linear {
	var all concatenated
	for _, p := range parts {
		all = append(all, b.linear(p))
	}
	return all
}

// fused joins the rows of projections of one format.
func (b *Builder) fused(parts []projection) (all projection) {
	join := func(array func(projection) *mlx.Ref) *mlx.Ref {
		if array(parts[0]) == nil {
			return nil
		}
		var refs []*mlx.Ref
		for _, p := range parts {
			refs = append(refs, array(p))
		}
		return b.join(refs)
	}
	all.bias = join(func(p projection) *mlx.Ref { return p.bias })
	if parts[0].quantised == nil {
		all.dense = join(func(p projection) *mlx.Ref { return p.dense })
		return all
	}
	all.quantised = &quantizedMatrix{
		format: parts[0].quantised.format,
		weight: join(func(p projection) *mlx.Ref { return p.quantised.weight }),
		scales: join(func(p projection) *mlx.Ref { return p.quantised.scales }),
		biases: join(func(p projection) *mlx.Ref { return p.quantised.biases }),
	}
	all.dense = all.quantised.weight
	return all
}

// join concatenates arrays that the builder owns along their first axis, and frees them.
func (b *Builder) join(refs []*mlx.Ref) *mlx.Ref {
	joined := b.Own(func(s *mlx.Scope) mlx.Array {
		arrays := make([]mlx.Array, len(refs))
		for i, r := range refs {
			arrays[i] = r.Array()
		}
		return s.Concatenate(0, arrays...)
	})
	if joined == nil {
		return nil
	}
	b.owned = slices.DeleteFunc(b.owned, func(owned *mlx.Ref) bool { return slices.Contains(refs, owned) })
	b.bytes -= b.freeCounted(refs)
	return joined
}

// freeCounted frees arrays and returns the bytes that they held.
func (b *Builder) freeCounted(refs []*mlx.Ref) (bytes int64) {
	err := b.run(func() error {
		for _, r := range refs {
			bytes += r.Array().NBytes()
			r.Free()
		}
		return nil
	})
	if err != nil {
		b.Fail(err)
	}
	return bytes
}

// Embedding builds the table at path, [vocab, hidden].
func (b *Builder) Embedding(path string, vocab, hidden int) *Embedding {
	var p projection
	p.dense, p.quantised = b.matrix(path, hidden, vocab)
	if b.err != nil || p.dense == nil {
		return nil
	}
	e := &Embedding{matrix: p.quantised, head: b.linear(p)}
	if p.quantised == nil {
		e.dense = p.dense
	}
	return e
}

// RMSNorm builds the normalisation at path, over size elements.
func (b *Builder) RMSNorm(path string, size int, eps float32) *RMSNorm {
	weight := b.take(path+".weight", size)
	if weight == nil {
		return nil
	}
	b.parameters += int64(size)
	return &RMSNorm{weight: b.settle(weight, b.policy.DType), eps: eps}
}

// Has reports whether the checkpoint holds an array that was not taken yet.
func (b *Builder) Has(name string) bool {
	_, ok := b.raw[name]
	return ok
}

// Vector takes a float32 vector as it is stored, whatever the policy.
func (b *Builder) Vector(name string, size int) *mlx.Ref {
	vector := b.take(name, size)
	if vector == nil {
		return nil
	}
	float32Type := mlx.Float32
	return b.settle(vector, &float32Type)
}

// Own evaluates an array that a layer computed and makes the builder responsible for it.
func (b *Builder) Own(build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	a, bytes := b.evaluate(build)
	b.bytes += bytes
	return a
}

// view is Own for an array that shares the memory of one already owned.
func (b *Builder) view(build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	a, _ := b.evaluate(build)
	return a
}

func (b *Builder) evaluate(build func(s *mlx.Scope) mlx.Array) (kept *mlx.Ref, bytes int64) {
	if b.err != nil {
		return nil, 0
	}
	err := b.run(func() error {
		err := mlx.Build(b.stream, func(s *mlx.Scope) (err error) {
			kept, err = s.Keep(build(s))
			return err
		})
		if err != nil {
			return err
		}
		b.owned = append(b.owned, kept)
		bytes = kept.Array().NBytes()
		return mlx.Eval(kept.Array())
	})
	if err != nil {
		b.fail("%w", err)
		return nil, 0
	}
	return kept, bytes
}

// Fail records that the model cannot be built.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *Builder) fail(format string, args ...any) {
	b.Fail(fault.New(fault.ModelLoad, format, args...))
}

// linear chooses how a projection computes on this backend.
func (b *Builder) linear(p projection) Linear {
	if b.err != nil {
		return nil
	}
	switch {
	case p.quantised == nil:
		weightT := b.view(func(s *mlx.Scope) mlx.Array { return s.Transpose(p.dense.Array(), 1, 0) })
		return &denseLinear{weightT: weightT, bias: p.bias}
	case b.policy.Backend == mlx.CPU:
		return &cpuQuantizedLinear{quantizedLinear{matrix: p.quantised, bias: p.bias}}
	default:
		return &quantizedLinear{matrix: p.quantised, bias: p.bias}
	}
}

// matrix takes the [out, in] matrix at path. The second result is set if it stays quantised;
// the first is nil only if the matrix could not be taken.
func (b *Builder) matrix(path string, in, out int) (*mlx.Ref, *quantizedMatrix) {
	b.parameters += int64(in) * int64(out)
	if !b.Has(path + ".scales") {
		weight := b.take(path+".weight", out, in)
		if weight == nil {
			return nil, nil
		}
		return b.settle(weight, b.policy.DType), nil
	}
	spec := b.Config.LayerQuantization(path)
	if spec == nil {
		b.fail("%s has scales, and config.json does not say how it is quantised", path)
		return nil, nil
	}
	if in%spec.GroupSize != 0 {
		b.fail("%s: %d inputs are not a multiple of the quantisation group of %d", path, in, spec.GroupSize)
		return nil, nil
	}
	weight := b.take(path+".weight", out, in*spec.Bits/32)
	scales := b.take(path+".scales", out, in/spec.GroupSize)
	biases := b.take(path+".biases", out, in/spec.GroupSize)
	if b.err != nil || weight == nil || scales == nil || biases == nil {
		return nil, nil
	}
	q := &quantizedMatrix{format: *spec}
	if b.policy.DenseWeights {
		return b.dequantized(q, weight, scales, biases), nil
	}
	q.weight = b.settle(weight, nil)
	q.scales = b.settle(scales, b.policy.DType)
	q.biases = b.settle(biases, b.policy.DType)
	return q.weight, q
}

func (b *Builder) dequantized(q *quantizedMatrix, weight, scales, biases *rawArray) *mlx.Ref {
	defer b.free(weight.Ref, scales.Ref, biases.Ref)
	return b.Own(func(s *mlx.Scope) mlx.Array {
		return s.Dequantize(mlx.Quantized{
			Weight: weight.Array(), Scales: b.cast(s, scales), Biases: b.cast(s, biases),
			GroupSize: q.format.GroupSize, Bits: q.format.Bits, Mode: q.format.Mode,
		})
	})
}

func (b *Builder) cast(s *mlx.Scope, a *rawArray) mlx.Array {
	if b.policy.DType == nil {
		return a.Array()
	}
	return s.AsType(a.Array(), *b.policy.DType)
}

// take removes an array from the checkpoint and checks its shape.
func (b *Builder) take(name string, shape ...int) *rawArray {
	if b.err != nil {
		return nil
	}
	a, ok := b.raw[name]
	if !ok {
		b.missing = append(b.missing, name)
		return nil
	}
	if !slices.Equal(a.shape, shape) {
		b.fail("tensor %q has shape %v, and the configuration says %v", name, a.shape, shape)
		return nil
	}
	delete(b.raw, name)
	return &a
}

func (b *Builder) optional(name string, shape ...int) *mlx.Ref {
	if !b.Has(name) {
		return nil
	}
	a := b.take(name, shape...)
	if a == nil {
		return nil
	}
	b.parameters += int64(shape[0])
	return b.settle(a, b.policy.DType)
}

// settle casts a float array to dtype if one is given, and moves it to the layers' arrays.
func (b *Builder) settle(a *rawArray, dtype *mlx.DType) *mlx.Ref {
	defer b.free(a.Ref)
	return b.Own(func(s *mlx.Scope) mlx.Array {
		if dtype == nil || !a.dtype.IsFloat() {
			return a.Array()
		}
		return s.AsType(a.Array(), *dtype)
	})
}

// namesShown bounds how many names an error lists.
const namesShown = 8

func head(names []string) []string { return names[:min(len(names), namesShown)] }

func list(names []string) string {
	shown := strings.Join(head(names), ", ")
	if len(names) > namesShown {
		shown += fmt.Sprintf(" and %d more", len(names)-namesShown)
	}
	return shown
}
