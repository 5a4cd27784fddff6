package nn

import (
	"fmt"
	"slices"
	"strings"

	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// Builder turns a checkpoint's arrays into the layers of a model. Layers are asked for by name
// and come back at once; their arrays are read, copied to the device and converted behind them,
// in order, and are there when Finish returns. The first error sticks and is Finish's.
//
// A Builder belongs to one goroutine, which must not be the MLX thread. Finish ends it.
type Builder struct {
	Config *load.Config

	policy  Policy
	arrays  map[string]load.Array // not yet taken
	missing []string
	err     error // of what layers were asked for

	unquantised map[string]*unquantised // by path; see Policy.Conversion
	upload      *uploader

	parameters int64
}

// NewBuilder returns a builder of the checkpoint. run runs a job on the MLX thread; every array is
// a job of its own, or several if it takes long to compute, so that steps of other models come in
// between. progress is told the bytes on the device so far and those to come, from another goroutine.
func NewBuilder(checkpoint load.Checkpoint, policy Policy, stream mlx.Stream, run func(job func() error) error, progress func(done, total int64)) *Builder {
	b := newBuilder(checkpoint, policy)
	var total int64
	for _, a := range b.arrays {
		total += int64(a.Size())
	}
	b.upload = newUploader(policy.Backend, stream, run, func(done int64) { progress(done, total) })
	return b
}

// NewDryBuilder returns a builder that checks names and shapes and reads nothing: its layers
// cannot be used. It needs no MLX thread.
func NewDryBuilder(checkpoint load.Checkpoint) *Builder {
	b := newBuilder(checkpoint, Policy{})
	b.upload = newDryUploader()
	return b
}

func newBuilder(checkpoint load.Checkpoint, policy Policy) *Builder {
	b := &Builder{Config: checkpoint.Config(), policy: policy, arrays: map[string]load.Array{}}
	for _, a := range checkpoint.Arrays(policy.DenseWeights) {
		b.arrays[a.Name] = a
	}
	return b
}

// Err returns the first error so far.
func (b *Builder) Err() error {
	if b.err == nil && len(b.missing) > 0 {
		return fault.New(fault.ModelLoad, "%d tensors are missing: %s", len(b.missing), list(b.missing)).With("missing", head(b.missing))
	}
	return b.err
}

// Finish waits for the arrays, checks that every array of the checkpoint was used, and returns
// the layers' arrays. The caller frees them, after an error too.
func (b *Builder) Finish() (*Weights, error) {
	err := b.Err()
	if err == nil && len(b.arrays) > 0 {
		var extra []string
		for name := range b.arrays {
			extra = append(extra, name)
		}
		slices.Sort(extra)
		err = fault.New(fault.ModelLoad, "%d tensors do not belong to a %s model: %s", len(extra), b.Config.ModelType, list(extra)).With("extra", head(extra))
	}
	refs, bytes, uploadErr := b.upload.finish()
	if err == nil {
		err = uploadErr
	}
	return &Weights{backend: b.policy.Backend, arrays: refs, Parameters: b.parameters, Bytes: bytes}, err
}

// Ignore drops arrays that a family does not use.
func (b *Builder) Ignore(unused func(name string) bool) {
	for name := range b.arrays {
		if unused(name) {
			delete(b.arrays, name)
		}
	}
}

// Weights are a model's arrays.
type Weights struct {
	backend    mlx.Backend
	arrays     []*mlx.Ref
	Parameters int64 // before quantisation
	Bytes      int64 // memory that the arrays hold
}

// Free releases the arrays. run runs a job on the MLX thread; steps of other models come in between.
// It must not be called on that thread, unless run calls the job.
func (w *Weights) Free(run func(job func() error) error) error {
	arrays := w.arrays
	w.arrays = nil
	return release(w.backend, arrays, run)
}

// Linear builds the projection at path, whose matrix is [out, in]. A bias is used if the
// checkpoint has one.
func (b *Builder) Linear(path string, in, out int) Linear {
	return b.Parallel([]string{path}, in, out)
}

// Parallel builds projections of one input whose outputs come one after the other on the last
// axis, [..., sum of outs]. They are one product where their formats agree, which is the rule;
// each matrix and bias keeps its numbers, so that the result does not change.
func (b *Builder) Parallel(paths []string, in int, outs ...int) Linear {
	parts := make([]projection, len(paths))
	for i, path := range paths {
		parts[i] = b.projection(path, in, outs[i])
	}
	if b.Err() != nil {
		return nil
	}
	for _, p := range parts[1:] {
		if !p.sameFormat(parts[0]) {
			return b.sideBySide(parts)
		}
	}
	return b.linear(parts)
}

// Embedding builds the table at path, [vocab, hidden].
func (b *Builder) Embedding(path string, vocab, hidden int) *Embedding {
	p := projection{}
	p.weight, p.scales, p.biases, p.format = b.matrix(path, hidden, vocab)
	if b.Err() != nil {
		return nil
	}
	if p.format == nil || b.policy.DenseWeights {
		table := b.dense([]projection{p})
		return &Embedding{dense: table, head: b.denseLinear(table, nil), vocab: vocab}
	}
	matrix := b.quantized([]projection{p}, b.scaleDType(p.format))
	return &Embedding{matrix: matrix, head: b.quantizedLinear(matrix, nil), vocab: vocab}
}

// Rename gives arrays the names that a family asks for. to returns a new name, or the old one.
func (b *Builder) Rename(to func(name string) string) {
	renamed := make(map[string]load.Array, len(b.arrays))
	for name, a := range b.arrays {
		renamed[to(name)] = a
	}
	b.arrays = renamed
}

// Has reports whether the checkpoint holds an array that was not taken yet.
func (b *Builder) Has(name string) bool {
	_, ok := b.arrays[name]
	return ok
}

// RequireBiases counts biases of the projections names below path as missing if the checkpoint has
// none. It is for families that always have them, and goes before their layers.
func (b *Builder) RequireBiases(path string, names ...string) {
	for _, name := range names {
		if bias := path + "." + name + ".bias"; b.err == nil && !b.Has(bias) {
			b.missing = append(b.missing, bias)
		}
	}
}

// Vector takes a vector as float32, whatever the policy.
func (b *Builder) Vector(name string, size int) *mlx.Ref {
	vector := b.take(name, size)
	if vector == nil {
		return nil
	}
	float32Type := mlx.Float32
	return b.settle(&float32Type, *vector)
}

// Parameter takes an array that is not a projection, in the policy's dtype.
func (b *Builder) Parameter(name string, shape ...int) *mlx.Ref {
	array := b.take(name, shape...)
	if array == nil {
		return nil
	}
	b.parameters += int64(array.Size() / array.DType.Size())
	return b.settle(b.policy.DType, *array)
}

// Derive computes an array from arrays that the builder gave out before.
func (b *Builder) Derive(build func(s *mlx.Scope) mlx.Array) *mlx.Ref {
	if b.Err() != nil {
		return nil
	}
	return b.upload.derive(true, build)
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

// projection is what a checkpoint holds of one linear layer.
type projection struct {
	weight, scales, biases *load.Array     // scales and biases are nil if dense
	format                 *load.QuantSpec // nil: dense
	bias                   *load.Array     // or nil
}

// projection takes the arrays of the projection at path, or of experts of them, whose arrays have
// an axis before the others.
func (b *Builder) projection(path string, in, out int, experts ...int) (p projection) {
	p.weight, p.scales, p.biases, p.format = b.matrix(path, in, out, experts...)
	if b.Has(path + ".bias") {
		if p.bias = b.take(path+".bias", append(slices.Clone(experts), out)...); p.bias != nil {
			b.parameters += int64(p.bias.Size() / p.bias.DType.Size())
		}
	}
	return p
}

// weightDType is what the policy has a projection's weight cast to: nil if it is quantised.
func (b *Builder) weightDType(p projection) *mlx.DType {
	if p.format != nil {
		return nil
	}
	return b.policy.DType
}

func (p projection) sameFormat(q projection) bool {
	if (p.format == nil) != (q.format == nil) || (p.bias == nil) != (q.bias == nil) ||
		p.weight.DType != q.weight.DType || (p.weight.Fill == nil) != (q.weight.Fill == nil) {
		return false
	}
	return p.format == nil || (*p.format == *q.format && p.scales.DType == q.scales.DType &&
		(p.biases == nil || p.biases.DType == q.biases.DType))
}

func (b *Builder) sideBySide(parts []projection) Linear {
	var all concatenated
	for _, p := range parts {
		all = append(all, b.linear([]projection{p}))
	}
	return all
}

// linear makes one layer of projections of one format, and chooses how it computes.
func (b *Builder) linear(parts []projection) Linear {
	var bias *mlx.Ref
	if parts[0].bias != nil {
		bias = b.settle(b.policy.DType, column(parts, func(p projection) *load.Array { return p.bias })...)
	}
	if parts[0].format == nil || b.policy.DenseWeights {
		return b.denseLinear(b.dense(parts), bias)
	}
	return b.quantizedLinear(b.quantized(parts, b.scaleDType(parts[0].format)), bias)
}

// dense is the matrix of projections of one format, dequantised if need be.
func (b *Builder) dense(parts []projection) *mlx.Ref {
	if parts[0].format == nil {
		return b.settle(b.policy.DType, column(parts, func(p projection) *load.Array { return p.weight })...)
	}
	matrix := b.quantized(parts, b.policy.DType)
	if b.Err() != nil {
		return nil
	}
	return b.upload.dequantised(matrix)
}

func (b *Builder) denseLinear(weight, bias *mlx.Ref) Linear {
	if b.Err() != nil {
		return nil
	}
	transposed := b.upload.derive(false, func(s *mlx.Scope) mlx.Array { return s.Transpose(weight.Array(), 1, 0) })
	return &denseLinear{weightT: transposed, bias: bias}
}

func (b *Builder) quantizedLinear(matrix *quantizedMatrix, bias *mlx.Ref) Linear {
	l := quantizedLinear{matrix: matrix, bias: bias}
	if b.policy.Backend == mlx.CPU {
		return &cpuQuantizedLinear{l}
	}
	return &l
}

// quantized is the matrix of projections of one format. Its scales and biases are cast to scales if
// that is given.
func (b *Builder) quantized(parts []projection, scales *mlx.DType) *quantizedMatrix {
	q := &quantizedMatrix{
		format: *parts[0].format, dtype: b.policy.DType,
		weight: b.settle(nil, column(parts, func(p projection) *load.Array { return p.weight })...),
		scales: b.settle(scales, column(parts, func(p projection) *load.Array { return p.scales })...),
	}
	if parts[0].biases != nil {
		q.biases = b.settle(scales, column(parts, func(p projection) *load.Array { return p.biases })...)
	}
	return q
}

// scaleDType is what scales and biases of a matrix are cast to that is multiplied by as it is: nil,
// the checkpoint's own, where mlx.Scope.MultipliesQuantized takes any.
func (b *Builder) scaleDType(format *load.QuantSpec) *mlx.DType {
	p := b.policy
	if format != nil && p.Kernels && !p.DenseWeights && p.DType != nil && *p.DType == mlx.Float32 &&
		mlx.KernelsTake(format.Mode, format.GroupSize) {
		return nil
	}
	return p.DType
}

func column(parts []projection, array func(projection) *load.Array) []load.Array {
	var all []load.Array
	for _, p := range parts {
		all = append(all, *array(p))
	}
	return all
}

// settle brings arrays to the device as one, joined along their first axis, and casts floats to
// dtype if one is given.
func (b *Builder) settle(dtype *mlx.DType, arrays ...load.Array) *mlx.Ref {
	if b.Err() != nil {
		return nil
	}
	if arrays[0].Fill == nil {
		return b.quantise(arrays)
	}
	return b.upload.arrays(arrays, b.stored(arrays[0].Name), dtype)
}

// matrix takes the arrays of the [out, in] matrix at path, or of experts of them, [experts, out,
// in]. format is nil if it is dense.
func (b *Builder) matrix(path string, in, out int, experts ...int) (weight, scales, biases *load.Array, format *load.QuantSpec) {
	count := int64(in) * int64(out)
	for _, n := range experts {
		count *= int64(n)
	}
	b.parameters += count
	shape := func(columns int) []int { return append(slices.Clone(experts), out, columns) }
	if !b.Has(path + ".scales") {
		return b.convert(path, b.take(path+".weight", shape(in)...))
	}
	if format = b.format(path, in); format == nil {
		return nil, nil, nil, nil
	}
	groups := shape(in / format.GroupSize)
	weight = b.take(path+".weight", shape(in*format.Bits/32)...)
	scales = b.take(path+".scales", groups...)
	if format.Mode == mlx.Affine {
		biases = b.take(path+".biases", groups...)
	}
	return weight, scales, biases, format
}

// format is how the matrix at path, which has scales, is quantised: as its shapes say, since the
// configuration names a standard that not all matrices follow, and only if they fit no format as
// the configuration says.
func (b *Builder) format(path string, in int) *load.QuantSpec {
	said := b.Config.LayerQuantization(path)
	if said == nil {
		b.fail("%s has scales, and config.json does not say how it is quantised", path)
		return nil
	}
	if seen := load.InferQuantization(in, b.arrays[path+".weight"], b.arrays[path+".scales"]); seen != nil {
		return seen
	}
	if in%said.GroupSize != 0 {
		b.fail("%s: %d inputs are not a multiple of the quantisation group of %d", path, in, said.GroupSize)
		return nil
	}
	return said
}

// take removes an array from the checkpoint and checks its shape.
func (b *Builder) take(name string, shape ...int) *load.Array {
	if b.err != nil {
		return nil
	}
	a, ok := b.arrays[name]
	if !ok {
		b.missing = append(b.missing, name)
		return nil
	}
	if !slices.Equal(a.Shape, shape) {
		b.fail("%stensor %q has shape %v, and the configuration says %v", prefix(a.File), name, a.Shape, shape)
		return nil
	}
	delete(b.arrays, name)
	return &a
}

// prefix begins an error with the file that it is about, if that is known.
func prefix(file string) string {
	if file == "" {
		return ""
	}
	return file + ": "
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
