package gpu_test

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// channelConvs is transformers' layout of convolutions: [channels, 1, kernel].
func (c checkpoint) channelConvs(t *testing.T) {
	t.Helper()
	found := false
	for name, tensor := range c.tensors {
		if strings.HasSuffix(name, "conv1d.weight") || strings.HasSuffix(name, "conv.conv.weight") {
			tensor.Shape = []int{tensor.Shape[0], 1, tensor.Shape[1]}
			c.tensors[name] = tensor
			found = true
		}
	}
	if !found {
		t.Fatal("no convolution")
	}
}

// offsetNorms stores norms as their difference to 1, but for those of gated delta nets.
func (c checkpoint) offsetNorms() {
	for name, tensor := range c.tensors {
		if !strings.Contains(name, "norm") || strings.Contains(name, "linear_attn") {
			continue
		}
		tensor.Data = slices.Clone(tensor.Data)
		for i := 0; i < len(tensor.Data); i += 4 {
			v := math.Float32frombits(binary.LittleEndian.Uint32(tensor.Data[i:]))
			binary.LittleEndian.PutUint32(tensor.Data[i:], math.Float32bits(v-1))
		}
		c.tensors[name] = tensor
	}
}

// qwenRecurrent is Qwen's layout of models with gated delta nets.
func (c checkpoint) qwenRecurrent(t *testing.T) {
	t.Helper()
	c.channelConvs(t)
	c.offsetNorms()
	c.add("mtp.fc.weight", "F32", make([]byte, 8), 1, 2)
}

// qwen35Experts is Qwen 3.5's layout of experts, whose names do not end in weight.
func (c checkpoint) qwen35Experts(t *testing.T) {
	t.Helper()
	for _, gate := range c.remove(t, ".switch_mlp.gate_proj.weight") {
		path, _, _ := strings.Cut(gate.Name, ".switch_mlp.")
		up := c.remove(t, path+".switch_mlp.up_proj.weight")[0]
		down := c.remove(t, path+".switch_mlp.down_proj.weight")[0]
		data, shape := fuse(gate, up, false)
		c.add(path+".experts.gate_up_proj", gate.DType, data, shape...)
		c.add(path+".experts.down_proj", down.DType, down.Data, down.Shape...)
	}
}

// numberedLayers is LFM2's naming of feed-forward projections.
func (c checkpoint) numberedLayers() {
	numbered := strings.NewReplacer("feed_forward.gate_proj.", "feed_forward.w1.", "feed_forward.down_proj.", "feed_forward.w2.", "feed_forward.up_proj.", "feed_forward.w3.")
	for name, tensor := range maps.Clone(c.tensors) {
		delete(c.tensors, name)
		tensor.Name = numbered.Replace(name)
		c.tensors[tensor.Name] = tensor
	}
}

// joinedDense is IBM's layout of Granite 4's layers without experts.
func (c checkpoint) joinedDense(t *testing.T) {
	t.Helper()
	for _, gate := range c.remove(t, ".mlp.gate_proj.weight") {
		path, _, _ := strings.Cut(gate.Name, ".mlp.")
		up := c.remove(t, path+".mlp.up_proj.weight")[0]
		down := c.remove(t, path+".mlp.down_proj.weight")[0]
		c.add(path+".shared_mlp.input_linear.weight", gate.DType, slices.Concat(gate.Data, up.Data), 2*gate.Shape[0], gate.Shape[1])
		c.add(path+".shared_mlp.output_linear.weight", down.DType, down.Data, down.Shape...)
	}
}
