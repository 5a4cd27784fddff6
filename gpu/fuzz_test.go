package gpu_test

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The fuzz targets load a model of which one file is the fuzzer's. Whatever it holds, the answer
// is a model or an error of kind ModelLoad, and nothing is left afterwards; victim.load checks it.

// addDamaged seeds the corpus with the beginning of a file, and with damaged forms of it.
func addDamaged(f *testing.F, head []byte) {
	f.Add(head)
	random := rand.New(rand.NewPCG(2, 3))
	for range 12 {
		damaged, _ := damage(random, head, len(head))
		f.Add(damaged)
	}
}

// The fuzzer's bytes take the place of the header; the data behind it is sound.
func FuzzLoadSafetensors(f *testing.F) {
	whole := tinyFolder(f, quantisedTinyConfig)
	header := headerOf(whole)
	addDamaged(f, whole[:header])
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, head []byte) {
		content := append(slices.Clone(head), whole[header:]...)
		_ = v.load(t, "", map[string][]byte{"config.json": []byte(quantisedTinyConfig), "model.safetensors": content})
	})
}

func FuzzLoadConfig(f *testing.F) {
	whole := tinyFolder(f, quantisedTinyConfig)
	addDamaged(f, []byte(quantisedTinyConfig))
	f.Add([]byte(`{"model_type":"llama","hidden_size":9223372036854775807,"num_attention_heads":-1}`))
	f.Add([]byte(`{"model_type":"gemma3","text_config":null,"quantization":{"bits":0,"group_size":0}}`))
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		_ = v.load(t, "", map[string][]byte{"config.json": content, "model.safetensors": whole})
	})
}

func FuzzLoadGGUF(f *testing.F) {
	whole := tinyGGUF()
	addDamaged(f, whole[:ggufHeader])
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, head []byte) {
		_ = v.load(t, "m.gguf", map[string][]byte{"m.gguf": append(slices.Clone(head), whole[ggufHeader:]...)})
	})
}
