package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
)

// ggufFile presents a llama-family GGUF file as a Hugging Face checkpoint. GGUF files of other
// architectures are refused by name; a new one is a row in ggufArchitectures.
type ggufFile struct {
	file    *gguf.File
	config  *Config
	tensors []ggufTensor
	total   int64
}

type ggufTensor struct {
	*gguf.Tensor
	file  *gguf.File
	name  string // Hugging Face name without the .weight or .bias suffix
	part  string // "weight" or "bias"
	heads int    // > 0: rows are permuted for interleaved rope in this many heads
}

// ggufArchitectures maps general.architecture to the model_type whose weights it holds.
var ggufArchitectures = map[string]string{"llama": "llama"}

// ggufModuleNames maps the part of a tensor's name behind "blk.N." to the module's name.
var ggufModuleNames = map[string]string{
	"attn_norm":   "input_layernorm",
	"attn_q":      "self_attn.q_proj",
	"attn_k":      "self_attn.k_proj",
	"attn_v":      "self_attn.v_proj",
	"attn_output": "self_attn.o_proj",
	"ffn_norm":    "post_attention_layernorm",
	"ffn_gate":    "mlp.gate_proj",
	"ffn_up":      "mlp.up_proj",
	"ffn_down":    "mlp.down_proj",
}

var ggufTopNames = map[string]string{
	"token_embd":  "model.embed_tokens",
	"output_norm": "model.norm",
	"output":      "lm_head",
	"rope_freqs":  RopeFactors,
}

// RopeFactors names the tensor by which a GGUF file scales the wavelengths of rope; its array
// is RopeFactors + ".weight", float32[head_dim/2].
const RopeFactors = "model.rope_factors"

func openGGUF(path string, supported func(string) error) (Checkpoint, error) {
	file, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	g := &ggufFile{file: file}
	err = g.read()
	if err == nil {
		err = supported(g.config.ModelType)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return g, nil
}

func (g *ggufFile) Config() *Config   { return g.config }
func (g *ggufFile) TotalBytes() int64 { return g.total }
func (g *ggufFile) Close() error      { return g.file.Close() }

func (g *ggufFile) read() error {
	hf, err := g.hfConfig()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(hf)
	if err != nil {
		return fault.New(fault.ModelLoad, "%s: metadata: %w", g.file.Name(), err)
	}
	if g.config, err = ParseConfig(raw); err != nil {
		return err
	}
	dtype := mlx.Float16 // of the scales; norms are float32 in the file
	g.config.DType = &dtype
	g.config.quantization.byLayer = map[string]*QuantSpec{}
	for i := range g.file.Tensors() {
		t, err := g.tensor(&g.file.Tensors()[i], hf)
		if err != nil {
			return err
		}
		g.tensors = append(g.tensors, t)
		g.total += int64(len(t.Data()))
		if spec := blockFormats[t.Type].quant; spec != nil {
			g.config.quantization.byLayer[t.name] = spec
		}
	}
	g.config.quantization.standard = g.predominantQuantization()
	return nil
}

// hfConfig is the subset of config.json that the llama family reads.
type hfConfig struct {
	ModelType         string         `json:"model_type"`
	HiddenSize        int            `json:"hidden_size"`
	NumHiddenLayers   int            `json:"num_hidden_layers"`
	IntermediateSize  int            `json:"intermediate_size"`
	NumAttentionHeads int            `json:"num_attention_heads"`
	NumKeyValueHeads  int            `json:"num_key_value_heads"`
	HeadDim           int            `json:"head_dim"`
	VocabSize         int            `json:"vocab_size"`
	MaxPosition       int            `json:"max_position_embeddings"`
	RMSNormEps        float64        `json:"rms_norm_eps"`
	RopeTheta         float64        `json:"rope_theta"`
	RopeScaling       map[string]any `json:"rope_scaling,omitempty"`
	TieWordEmbeddings bool           `json:"tie_word_embeddings"`
}

func (g *ggufFile) hfConfig() (*hfConfig, error) {
	arch, _, err := gguf.Get[string](g.file, "general.architecture")
	if err != nil {
		return nil, err
	}
	modelType, known := ggufArchitectures[arch]
	if !known {
		return nil, fault.New(fault.ModelLoad, "%s: unknown architecture %q in a GGUF file; accepted: %s", g.file.Name(), arch,
			strings.Join(slices.Sorted(maps.Keys(ggufArchitectures)), ", "))
	}
	m := metadata{file: g.file, arch: arch}
	c := &hfConfig{
		ModelType:         modelType,
		HiddenSize:        required[int](&m, "embedding_length"),
		NumHiddenLayers:   required[int](&m, "block_count"),
		IntermediateSize:  required[int](&m, "feed_forward_length"),
		NumAttentionHeads: required[int](&m, "attention.head_count"),
		RMSNormEps:        required[float64](&m, "attention.layer_norm_rms_epsilon"),
		MaxPosition:       required[int](&m, "context_length"),
		RopeTheta:         optional(&m, "rope.freq_base", 10000.0),
	}
	c.NumKeyValueHeads = optional(&m, "attention.head_count_kv", c.NumAttentionHeads)
	headDim := 0
	if c.NumAttentionHeads > 0 {
		headDim = c.HiddenSize / c.NumAttentionHeads
	}
	c.HeadDim = optional(&m, "attention.key_length", headDim)
	if ropeDims := optional(&m, "rope.dimension_count", c.HeadDim); m.err == nil && ropeDims != c.HeadDim {
		return nil, fault.New(fault.ModelLoad, "%s: rope over %d of %d dimensions is not supported for architecture %s", g.file.Name(), ropeDims, c.HeadDim, arch)
	}
	if experts := optional(&m, "expert_count", 0); experts > 0 {
		return nil, fault.New(fault.ModelLoad, "%s: a mixture of %d experts is not supported in GGUF files", g.file.Name(), experts)
	}
	switch scaling := optional(&m, "rope.scaling.type", "none"); scaling {
	case "none":
	case "linear":
		c.RopeScaling = map[string]any{"rope_type": "linear", "factor": optional(&m, "rope.scaling.factor", 1.0)}
	default:
		return nil, fault.New(fault.ModelLoad, "%s: rope scaling %q is not supported; accepted: none, linear", g.file.Name(), scaling)
	}
	_, untied := g.file.Tensor("output.weight")
	c.TieWordEmbeddings = !untied
	if embedding, ok := g.file.Tensor("token_embd.weight"); ok && len(embedding.Dims) == 2 {
		c.VocabSize = int(embedding.Dims[1])
	}
	return c, m.err
}

// metadata reads keys below an architecture's prefix and keeps the first error.
type metadata struct {
	file *gguf.File
	arch string
	err  error
}

func optional[T gguf.Gettable](m *metadata, key string, absent T) T {
	v, ok, err := gguf.Get[T](m.file, m.arch+"."+key)
	if err != nil && m.err == nil {
		m.err = err
	}
	if !ok || err != nil {
		return absent
	}
	return v
}

func required[T gguf.Gettable](m *metadata, key string) T {
	v, ok, err := gguf.Get[T](m.file, m.arch+"."+key)
	if err == nil && !ok {
		err = fault.New(fault.ModelLoad, "%s: metadata key %q is missing", m.file.Name(), m.arch+"."+key)
	}
	if err != nil && m.err == nil {
		m.err = err
	}
	return v
}

// tensor maps a directory entry to its Hugging Face name and checks its type.
func (g *ggufFile) tensor(t *gguf.Tensor, hf *hfConfig) (ggufTensor, error) {
	out := ggufTensor{Tensor: t, file: g.file}
	base, part, ok := cutLast(t.Name, ".")
	out.part = part
	if layer, module, inBlock := cutBlock(base); inBlock {
		name, known := ggufModuleNames[module]
		out.name, ok = fmt.Sprintf("model.layers.%d.%s", layer, name), ok && known
		switch module {
		case "attn_q":
			out.heads = hf.NumAttentionHeads
		case "attn_k":
			out.heads = hf.NumKeyValueHeads
		}
	} else {
		name, known := ggufTopNames[base]
		out.name, ok = name, ok && known
	}
	if !ok || (part != "weight" && part != "bias") {
		return out, fault.New(fault.ModelLoad, "%s: tensor %q is not one of a %s model", g.file.Name(), t.Name, hf.ModelType)
	}
	format, supported := blockFormats[t.Type]
	if !supported {
		return out, fault.New(fault.ModelLoad, "%s: tensor %q has the unsupported type %s; accepted: %s",
			g.file.Name(), t.Name, t.Type, strings.Join(formatNames(), ", ")).
			With("tensor", t.Name).With("type", t.Type.String())
	}
	if len(t.Dims) == 0 || len(t.Dims) > 2 || (format.expand != nil && len(t.Dims) != 2) {
		return out, fault.New(fault.ModelLoad, "%s: tensor %q has %d dimensions", g.file.Name(), t.Name, len(t.Dims))
	}
	if out.heads > 0 && t.Dims[len(t.Dims)-1]%uint64(2*out.heads) != 0 {
		return out, fault.New(fault.ModelLoad, "%s: tensor %q has %d rows, which %d heads do not divide evenly",
			g.file.Name(), t.Name, t.Dims[len(t.Dims)-1], out.heads)
	}
	return out, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// cutBlock splits "blk.3.attn_q" into 3 and "attn_q".
func cutBlock(base string) (layer int, module string, ok bool) {
	rest, ok := strings.CutPrefix(base, "blk.")
	if !ok {
		return 0, "", false
	}
	number, module, ok := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	return layer, module, ok && err == nil && layer >= 0
}

func (g *ggufFile) predominantQuantization() *QuantSpec {
	elements := map[*QuantSpec]uint64{}
	var most *QuantSpec
	for _, t := range g.tensors {
		spec := blockFormats[t.Type].quant
		if spec == nil {
			continue
		}
		elements[spec] += t.Elements()
		if most == nil || elements[spec] > elements[most] {
			most = spec
		}
	}
	return most
}

func (g *ggufFile) Arrays(dense bool) []Array {
	var arrays []Array
	for _, t := range g.tensors {
		for _, a := range t.arrays(dense) {
			a.File = g.file.Name()
			arrays = append(arrays, a)
		}
	}
	return arrays
}

// Expanded returns how many elements lie in matrices that no format of MLX can hold, and the
// first of them. They become dense, whatever Arrays is asked for.
func (g *ggufFile) Expanded() (elements int64, first string) {
	for _, t := range g.tensors {
		if f := blockFormats[t.Type]; f.expand != nil && f.quant == nil {
			elements += int64(t.Elements())
			first = cmp.Or(first, fmt.Sprintf("tensor %q of type %s", t.Name, t.Type))
		}
	}
	return elements, first
}

func formatNames() []string {
	var names []string
	for t := range blockFormats {
		names = append(names, t.String())
	}
	slices.Sort(names)
	return names
}
