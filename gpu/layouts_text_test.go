package gpu_test

import (
	"maps"
	"strings"
	"testing"
)

// nestedText names the language model as transformers nests it since 4.52, and adds tensors that
// it has no use for.
func (c checkpoint) nestedText(unused ...string) {
	for name, tensor := range maps.Clone(c.tensors) {
		delete(c.tensors, name)
		if rest, found := strings.CutPrefix(name, "language_model.model."); found {
			tensor.Name = "model.language_model." + rest
		} else {
			tensor.Name = strings.TrimPrefix(name, "language_model.")
		}
		c.tensors[tensor.Name] = tensor
	}
	for _, name := range unused {
		c.add(name, "F32", make([]byte, 8), 1, 2)
	}
}

// jointGates is Google's layout of Gemma 4's experts, whose names do not end in weight.
func (c checkpoint) jointGates(t *testing.T) {
	t.Helper()
	for _, gate := range c.remove(t, ".switch_glu.gate_proj.weight") {
		path, _, _ := strings.Cut(gate.Name, ".switch_glu.")
		up := c.remove(t, path+".switch_glu.up_proj.weight")[0]
		down := c.remove(t, path+".switch_glu.down_proj.weight")[0]
		data, shape := fuse(gate, up, false)
		c.add(path+".gate_up_proj", gate.DType, data, shape...)
		c.add(path+".down_proj", down.DType, down.Data, down.Shape...)
	}
}
