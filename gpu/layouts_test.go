package gpu_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/internal/safetensors/safetensorstest"
)

// checkpoint is what a folder holds.
type checkpoint struct {
	config  map[string]any
	tensors map[string]safetensorstest.Tensor
}

// TestPublishedLayoutsEqualConverted gives models the names and layouts under which they are
// published, before mlx_lm.convert has changed them.
func TestPublishedLayoutsEqualConverted(t *testing.T) {
	own := map[string]string{"gate_proj": "gate_proj", "up_proj": "up_proj", "down_proj": "down_proj"}
	usual := func(c checkpoint) { c.singleExperts(t, ".switch_mlp.", own) }
	numbered := func(c checkpoint) {
		c.singleExperts(t, ".switch_mlp.", map[string]string{"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"})
	}
	models := readTinyModels(t)
	for name, publish := range map[string]func(c checkpoint){
		"qwen3-moe":        usual,
		"qwen2-moe":        usual,
		"olmoe":            usual,
		"mixtral-4bit":     numbered,
		"phimoe":           numbered,
		"deepseek-v2-4bit": usual,
		"deepseek-v3": func(c checkpoint) {
			usual(c)
			c.jointLatents(t)
			c.addFurtherLayer()
		},
		"glm4-moe": func(c checkpoint) {
			usual(c)
			c.addFurtherLayer()
		},
		"gpt-oss-mxfp4": func(c checkpoint) { c.mxfp4Blocks(t) },
		"granitemoe":    func(c checkpoint) { c.joinedExperts(t) },
		"llama4": func(c checkpoint) {
			c.transposedExperts(t, ".experts.")
			c.add("vision_model.patch_embedding.linear.weight", "F32", make([]byte, 8), 1, 2)
			c.add("multi_modal_projector.linear_1.weight", "F32", make([]byte, 8), 1, 2)
		},
		"qwen3-vl-moe": func(c checkpoint) {
			c.transposedExperts(t, ".switch_mlp.")
			c.nestedText("model.visual.blocks.0.norm1.weight")
		},
		"minimax-m2": numbered,
		"dots1":      func(c checkpoint) { c.singleExperts(t, ".experts.", own) },
		"gemma3": func(c checkpoint) {
			c.nestedText("vision_tower.vision_model.post_layernorm.weight", "multi_modal_projector.mm_soft_emb_norm.weight")
		},
		"gemma4": func(c checkpoint) {
			c.nestedText("model.vision_tower.patch_embedder.input_proj.weight", "model.audio_tower.output_proj.bias",
				"model.embed_vision.embedding_projection.weight", "model.language_model.layers.0.mlp.down_proj.input_max",
				"model.language_model.layers.4.self_attn.k_proj.weight", "model.language_model.layers.5.self_attn.k_norm.weight")
		},
		"gemma4-text-experts": func(c checkpoint) { c.jointGates(t) },
		"qwen3-next": func(c checkpoint) {
			usual(c)
			c.qwenRecurrent(t)
		},
		"qwen3-5-text-alone": func(c checkpoint) {
			c.qwenRecurrent(t)
			c.nestedText()
		},
		"qwen3-5-moe": func(c checkpoint) {
			c.qwen35Experts(t)
			c.qwenRecurrent(t)
			c.nestedText("model.visual.patch_embed.proj.weight")
		},
		"lfm2": func(c checkpoint) { c.channelConvs(t) },
		"lfm2-moe": func(c checkpoint) {
			numbered(c)
			c.numberedLayers()
			c.channelConvs(t)
		},
		"mamba2": func(c checkpoint) { c.channelConvs(t) },
		"nemotron-h": func(c checkpoint) {
			c.singleExperts(t, ".switch_mlp.", map[string]string{"fc1": "up_proj", "fc2": "down_proj"})
			c.channelConvs(t)
			c.add("mtp.layers.0.norm.weight", "F32", make([]byte, 8), 1, 2)
		},
		"granitemoehybrid": func(c checkpoint) {
			c.joinedExperts(t)
			c.channelConvs(t)
		},
		"granitemoehybrid-dense-rope": func(c checkpoint) {
			c.joinedDense(t)
			c.channelConvs(t)
		},
		"mistral3": func(c checkpoint) {
			c.nestedText("model.vision_tower.ln_pre.weight", "model.multi_modal_projector.norm.weight")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, found := models[name]
			if !found {
				t.Fatal("no such case")
			}
			dir := m.published(t, publish)
			for _, dense := range []string{"off", "on"} {
				engine := newEngine(t, gpu.Config{DenseWeights: dense})
				loadModel(t, engine, dir)
				m.compare(t, engine, dense)
				unload(t, engine)
			}
		})
	}
}

// unload takes the model out and checks that nothing is left of what it was made from.
func unload(t *testing.T, engine *gpu.Engine) {
	t.Helper()
	if _, err := engine.Unload(context.Background(), modelID); err != nil {
		t.Fatal(err)
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("%d bytes are left", m.ActiveBytes)
	}
}

// published writes the case's checkpoint as publish changes it, and returns its folder.
func (m *tinyCase) published(t *testing.T, publish func(c checkpoint)) string {
	t.Helper()
	c := checkpoint{tensors: map[string]safetensorstest.Tensor{}}
	if err := json.Unmarshal(m.Config, &c.config); err != nil {
		t.Fatal(err)
	}
	for _, tensor := range m.tensors(t) {
		c.tensors[tensor.Name] = tensor
	}
	publish(c)
	var tensors []safetensorstest.Tensor
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		tensors = append(tensors, c.tensors[name])
	}
	dir := t.TempDir()
	writeFolder(t, dir, c.config, tensors)
	return dir
}

// TestPublishedLayoutsQuantisedWhileLoading quantises what mlx-lm does, which is not what is
// stored.
func TestPublishedLayoutsQuantisedWhileLoading(t *testing.T) {
	models := readTinyModels(t)
	for name, publish := range map[string]func(c checkpoint){
		"deepseek-v3-4bit": func(c checkpoint) { c.jointLatents(t) },
		"granitemoe-4bit":  func(c checkpoint) { c.joinedExperts(t) },
		"qwen3-vl-moe-4bit": func(c checkpoint) {
			c.transposedExperts(t, ".switch_mlp.")
			c.nestedText()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := models[name]
			dense, quantization := m.dense(t)
			dir := dense.published(t, publish)
			for _, denseWeights := range []string{"off", "on"} {
				engine := newEngine(t, gpu.Config{DenseWeights: denseWeights})
				if _, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: dir, Quantization: quantization}, nil); err != nil {
					t.Fatal(err)
				}
				m.compare(t, engine, denseWeights)
				unload(t, engine)
			}
		})
	}
}

// add names a tensor and adds it.
func (c checkpoint) add(name, dtype string, data []byte, shape ...int) {
	c.tensors[name] = safetensorstest.Tensor{Name: name, DType: dtype, Shape: shape, Data: data}
}

// remove takes out all tensors whose names have a part, of which there must be some.
func (c checkpoint) remove(t *testing.T, part string) []safetensorstest.Tensor {
	t.Helper()
	var removed []safetensorstest.Tensor
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		if strings.Contains(name, part) {
			removed = append(removed, c.tensors[name])
			delete(c.tensors, name)
		}
	}
	if len(removed) == 0 {
		t.Fatalf("no tensor has %q in its name", part)
	}
	return removed
}

// singleExperts gives each expert of the stacks below a path's end tensors of its own, with these
// names of their projections.
func (c checkpoint) singleExperts(t *testing.T, stacks string, names map[string]string) {
	t.Helper()
	for _, stack := range c.remove(t, stacks) {
		path, rest, _ := strings.Cut(stack.Name, stacks)
		projection, part, _ := strings.Cut(rest, ".")
		experts := stack.Shape[0]
		size := len(stack.Data) / experts
		for i := range experts {
			name := fmt.Sprintf("%s.experts.%d.%s.%s", path, i, names[projection], part)
			c.add(name, stack.DType, stack.Data[i*size:][:size], stack.Shape[1:]...)
		}
	}
}

// fuse joins the rows, the second axis, of two tensors: by turns, or one after the other.
func fuse(a, b safetensorstest.Tensor, byTurns bool) (data []byte, shape []int) {
	experts, rows := a.Shape[0], a.Shape[1]
	row := len(a.Data) / experts / rows
	at := func(data []byte, i int) []byte { return data[i*row:][:row] }
	for e := range experts {
		for i := range 2 * rows {
			switch {
			case byTurns && i%2 == 0:
				data = append(data, at(a.Data, e*rows+i/2)...)
			case byTurns:
				data = append(data, at(b.Data, e*rows+i/2)...)
			case i < rows:
				data = append(data, at(a.Data, e*rows+i)...)
			default:
				data = append(data, at(b.Data, e*rows+i-rows)...)
			}
		}
	}
	return data, append([]int{experts, 2 * rows}, a.Shape[2:]...)
}

// joinedExperts is IBM's layout of Granite's experts.
func (c checkpoint) joinedExperts(t *testing.T) {
	t.Helper()
	for _, gate := range c.remove(t, ".switch_mlp.gate_proj.weight") {
		path, _, _ := strings.Cut(gate.Name, ".switch_mlp.")
		up := c.remove(t, path+".switch_mlp.up_proj.weight")[0]
		down := c.remove(t, path+".switch_mlp.down_proj.weight")[0]
		data, shape := fuse(gate, up, false)
		c.add(path+".input_linear.weight", gate.DType, data, shape...)
		c.add(path+".output_linear.weight", down.DType, down.Data, down.Shape...)
	}
}

// transposedExperts is Meta's layout of Llama 4's experts. The stacks are below a path's end.
func (c checkpoint) transposedExperts(t *testing.T, stacks string) {
	t.Helper()
	for _, gate := range c.remove(t, stacks+"gate_proj.weight") {
		path, _, _ := strings.Cut(gate.Name, stacks)
		data, shape := fuse(gate, c.remove(t, path+stacks+"up_proj.weight")[0], false)
		c.addTransposed(path+".experts.gate_up_proj", data, shape)
	}
	for _, down := range c.remove(t, stacks+"down_proj.weight") {
		path, _, _ := strings.Cut(down.Name, stacks)
		c.addTransposed(path+".experts.down_proj", down.Data, down.Shape)
	}
}

// addTransposed adds a float32 tensor with its last two axes swapped.
func (c checkpoint) addTransposed(name string, data []byte, shape []int) {
	var out []byte
	for e := range shape[0] {
		for i := range shape[2] {
			for j := range shape[1] {
				out = append(out, data[4*((e*shape[1]+j)*shape[2]+i):][:4]...)
			}
		}
	}
	c.add(name, "F32", out, shape[0], shape[2], shape[1])
}

// mxfp4Blocks is OpenAI's layout of gpt-oss's experts.
func (c checkpoint) mxfp4Blocks(t *testing.T) {
	t.Helper()
	delete(c.config, "quantization")
	c.config["quantization_config"] = map[string]any{"quant_method": "mxfp4", "modules_to_not_convert": []string{"lm_head"}}
	published := map[string]string{"weight": "_blocks", "scales": "_scales", "bias": "_bias"}
	add := func(path, part, dtype string, data []byte, shape []int) {
		if part == "weight" {
			dtype = "U8"
			shape = append(slices.Clone(shape[:len(shape)-1]), shape[len(shape)-1]/4, 16)
		}
		c.add(path+published[part], dtype, data, shape...)
	}
	for _, gate := range c.remove(t, ".experts.gate_proj.") {
		path, part, _ := strings.Cut(gate.Name, ".gate_proj.")
		data, shape := fuse(gate, c.remove(t, path+".up_proj."+part)[0], true)
		add(path+".gate_up_proj", part, gate.DType, data, shape)
	}
	for _, down := range c.remove(t, ".experts.down_proj.") {
		path, part, _ := strings.Cut(down.Name, ".down_proj.")
		add(path+".down_proj", part, down.DType, down.Data, down.Shape)
	}
}

// jointLatents has one projection of DeepSeek's latents to keys and values.
func (c checkpoint) jointLatents(t *testing.T) {
	t.Helper()
	for _, keys := range c.remove(t, ".embed_q.weight") {
		path, _, _ := strings.Cut(keys.Name, ".embed_q.")
		values := c.remove(t, path+".unembed_out.weight")[0]
		heads, latent, dim := keys.Shape[0], keys.Shape[1], keys.Shape[2]
		size := len(values.Data) / heads
		var data []byte
		for h := range heads {
			for i := range dim { // transposed
				for j := range latent {
					data = append(data, keys.Data[4*((h*latent+j)*dim+i):][:4]...)
				}
			}
			data = append(data, values.Data[h*size:][:size]...)
		}
		c.add(path+".kv_b_proj.weight", "F32", data, heads*(dim+values.Shape[1]), latent)
	}
}

// addFurtherLayer adds a layer that predicts the token after the next one.
func (c checkpoint) addFurtherLayer() {
	layers := c.config["num_hidden_layers"].(float64)
	c.add(fmt.Sprintf("model.layers.%g.eh_proj.weight", layers), "F32", make([]byte, 8), 1, 2)
}
